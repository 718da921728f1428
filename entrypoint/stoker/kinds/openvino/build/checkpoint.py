"""Sharded safetensors, memory-mapped: tensors are views into the files until something computes with them.

Format: https://huggingface.co/docs/safetensors (8 bytes of header length, JSON header, data).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stoker.errors import DamagedModelError
from stoker.json_text import parse_json
from stoker.kinds.openvino.build.encoding import Tensor

INDEX = "model.safetensors.index.json"
MAX_HEADER_BYTES = 100_000_000

DTYPES: Mapping[str, str] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|u1", "F8_E4M3": "|u1", "F8_E5M2": "|u1",
}  # fmt: skip
"""numpy's type for each safetensors dtype; BF16 and FP8 as bit patterns."""


class SafetensorsCheckpoint:
    """Implements `Checkpoint` over one or several files. Raises DamagedModelError that names the file or tensor."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._tensors: dict[str, Tensor] = {}
        for file in files:
            for name, tensor in read_shard(file).items():
                if name in self._tensors:
                    raise DamagedModelError(f"tensor {name} is in several files", why=f"one of them is {file.name}")
                self._tensors[name] = tensor

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def tensor(self, name: str) -> Tensor:
        try:
            return self._tensors[name]
        except KeyError:
            raise DamagedModelError(f"tensor {name} is missing from the checkpoint") from None

    def names(self) -> Sequence[str]:
        return tuple(self._tensors)


def open_checkpoint(directory: Path) -> SafetensorsCheckpoint:
    """The checkpoint in a model directory: the shards of its index, or else its only safetensors file."""
    index = directory / INDEX
    files = indexed_files(index) if index.is_file() else sorted(directory.glob("*.safetensors"))
    if not files:
        raise DamagedModelError(f"no safetensors files in {directory}")
    checkpoint = SafetensorsCheckpoint(files)
    if index.is_file():
        for name in _weight_map(index):
            checkpoint.tensor(name)
    return checkpoint


def indexed_files(index: Path) -> list[Path]:
    files = sorted({index.parent / str(file) for file in _weight_map(index).values()})
    for file in files:
        if not file.is_file():
            raise DamagedModelError(f"{file.name} is missing", why=f"{index.name} lists it")
    return files


def _weight_map(index: Path) -> Mapping[str, object]:
    try:
        return dict(parse_json(index.read_bytes())["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedModelError(f"{index.name} is not a safetensors index", why=str(error)) from error


def read_shard(file: Path) -> dict[str, Tensor]:
    """The tensors of one file, as views into its memory map."""
    try:
        with file.open("rb") as stream:
            memory = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise DamagedModelError(f"{file.name} cannot be read", why=str(error)) from error
    header, start = _header(memory, file.name)
    data = np.frombuffer(memory, dtype=np.uint8, offset=start)
    return {name: _view(name, entry, data, file.name) for name, entry in header.items() if name != "__metadata__"}


def _header(memory: mmap.mmap, file: str) -> tuple[Mapping[str, object], int]:
    """The header and the offset at which the data begins."""
    size = int.from_bytes(memory[:8], "little")
    if len(memory) < 8 or size > MAX_HEADER_BYTES or 8 + size > len(memory):
        raise DamagedModelError(f"{file} is truncated or no safetensors file", why=f"its header claims {size} bytes")
    try:
        header = parse_json(memory[8 : 8 + size])
    except ValueError as error:
        raise DamagedModelError(f"{file} has a damaged header", why=str(error)) from error
    if not isinstance(header, dict):
        raise DamagedModelError(f"{file} has a damaged header", why="it is not an object")
    return header, 8 + size


def _view(name: str, entry: Any, data: npt.NDArray[np.uint8], file: str) -> Tensor:
    try:
        dtype, shape = entry["dtype"], tuple(int(size) for size in entry["shape"])
        begin, end = (int(offset) for offset in entry["data_offsets"])
        kind = np.dtype(DTYPES[dtype])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedModelError(f"{file}: tensor {name} is described wrongly", why=repr(error)) from error
    if not 0 <= begin <= end <= data.size:
        raise DamagedModelError(
            f"{file} is truncated", why=f"tensor {name} ends at byte {end} of the data, which has {data.size}"
        )
    if min(shape, default=0) < 0 or end - begin != math.prod(shape) * kind.itemsize:
        raise DamagedModelError(f"{file}: tensor {name} does not have the size of its shape", why=f"{dtype} {shape}")
    return Tensor(name, dtype, shape, _aligned(data[begin:end], kind).reshape(shape))


def _aligned(raw: npt.NDArray[np.uint8], kind: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    """A view of the bytes as `kind`; a copy where the file does not align them, which kernels need."""
    if raw.ctypes.data % kind.itemsize:
        raw = raw.copy()
    return raw.view(kind)
