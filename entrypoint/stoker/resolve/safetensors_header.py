"""The header of a safetensors file: an unsigned 64-bit little-endian length, then that many bytes of JSON.

Format: https://huggingface.co/docs/safetensors/index#format. Nothing of the tensors' data is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from stoker.errors import DamagedModelError
from stoker.resolve.json_files import parse
from stoker.resolve.numbers import shown

LENGTH_BYTES = 8
_MAX_RANK = 16
MAX_HEADER_BYTES = 100_000_000  # the bound of the format's own reader

DTYPE_BITS: Mapping[str, int] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "F64": 64,
    "I64": 64,
    "U64": 64,
    "C64": 64,
}


@dataclass(frozen=True)
class Tensor:
    """`begin` and `end` are byte offsets from the header's `data_start`."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def scalars(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class Header:
    """`data_start` is the file offset of the first tensor's first byte."""

    tensors: Mapping[str, Tensor]
    data_start: int
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_header(path: Path) -> Header:
    """Reads and checks the header against the file's size; raises DamagedModelError that names the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(LENGTH_BYTES)
        length = header_length(start, size, str(path))
        return parse_header(file.read(length), size, str(path))


def header_length(start: bytes, file_size: int, name: str) -> int:
    """The JSON's length from the file's first eight bytes."""
    if start.startswith(b"version "):
        raise damaged(name, "it is a Git LFS pointer, not the weights", "fetch the file itself: git lfs pull")
    if len(start) < LENGTH_BYTES:
        raise damaged(name, f"it has {file_size} bytes, too few for a safetensors file")
    length = int.from_bytes(start, "little")
    if length > MAX_HEADER_BYTES:
        raise damaged(name, f"its header would be {length} bytes; it is no safetensors file")
    if LENGTH_BYTES + length > file_size:
        raise damaged(name, f"it is truncated: {file_size} bytes, of which the header alone needs {length + 8}")
    return length


def parse_header(text: bytes, file_size: int, name: str) -> Header:
    """Parses a header's JSON and checks that its tensors fill a file of `file_size` bytes without gap or overlap."""
    entries = _json_object(text, name)
    metadata = entries.pop("__metadata__", {})
    tensors = {key: _tensor(key, entry, name) for key, entry in entries.items()}
    data_start = LENGTH_BYTES + len(text)
    _check_layout(tensors, file_size - data_start, name)
    return Header(tensors, data_start, metadata if isinstance(metadata, dict) else {})


def _json_object(text: bytes, name: str) -> dict[str, object]:
    try:
        value = parse(text)
    except ValueError as error:
        raise damaged(name, f"its header is not JSON ({error})"[:300]) from error
    if not isinstance(value, dict):
        raise damaged(name, "its header is not a JSON object")
    return value


def _tensor(key: str, entry: Any, name: str) -> Tensor:
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise _malformed(key, name) from error
    numbers = (*shape, begin, end)
    if not all(type(each) is int and 0 <= each < 1 << 63 for each in numbers) or len(shape) > _MAX_RANK:
        raise _malformed(key, name)
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise damaged(name, f"tensor {shown(key)} has the unknown dtype {shown(dtype)}")
    tensor = Tensor(dtype, shape, begin, end)
    if tensor.scalars * DTYPE_BITS[dtype] != 8 * (end - begin):
        raise damaged(name, f"tensor {shown(key)} of shape {list(shape)} {dtype} cannot lie in {end - begin} bytes")
    return tensor


def _malformed(key: str, name: str) -> DamagedModelError:
    return damaged(name, f"the header's entry of tensor {shown(key)} is malformed")


def _check_layout(tensors: Mapping[str, Tensor], data_bytes: int, name: str) -> None:
    position = 0
    for key, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != position:
            raise damaged(name, f"tensor {key!r} starts at byte {tensor.begin} where {position} is due")
        position = tensor.end
    if position > data_bytes:
        raise damaged(name, f"it is truncated: {data_bytes} bytes of tensors where its header promises {position}")
    if position < data_bytes:
        raise damaged(name, f"it has {data_bytes - position} bytes more than its header accounts for")


def damaged(name: str, why: str, remedy: str = "fetch or copy the file again") -> DamagedModelError:
    return DamagedModelError(f"{name} is damaged", why=why, remedy=remedy)
