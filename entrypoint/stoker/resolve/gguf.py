"""GGUF files, which are not served: what they were made from, so that the error can name what is.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Only the metadata before the tokenizer is read.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from stoker.errors import NoSafetensorsError

SUFFIX = ".gguf"
HEAD_BYTES = 1 << 20
_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_MOST_ENTRIES, _LONGEST_TEXT = 10_000, 1 << 16
_REPOSITORY = re.compile(r"(?:https?://huggingface\.co/)?([\w.-]+/[\w.-]+?)/?$")
_SOURCES = ("general.source.huggingface.repository", "general.source.repo_url", "general.source.url")
_BASES = ("general.base_model.0.repo_url",)


class _UnreadableError(Exception):
    """The header ends, or is none."""


def refuse_gguf(place: str, head: bytes) -> NoSafetensorsError:
    """The error for a GGUF file, or a folder of them; `head` is the beginning of one, empty where it was not read."""
    source, how = _made_from(read_metadata(BytesIO(head)))
    why = "engines are built from safetensors, in the precision that suits this machine"
    if source:
        remedy = f"serve the model that its header names as its {how}: stoker serve {source}"
    else:
        remedy = "serve the safetensors repository that it was made from; its page on the hub names it as base model"
    return NoSafetensorsError(f"{place} holds GGUF, which is not served", why=why, remedy=remedy)


def head_of(path: Path) -> bytes:
    """Empty where the file cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except OSError:
        return b""


def first_gguf(names: Iterable[str]) -> str:
    return min((name for name in names if name.endswith(SUFFIX)), default="")


def read_metadata(stream: BinaryIO) -> dict[str, str]:
    """The texts by their keys, as far as the header can be read; never an error."""
    found: dict[str, str] = {}
    try:
        if _take(stream, 4) != _MAGIC:
            return found
        _, _, count = struct.unpack("<IQQ", _take(stream, 20))
        for _ in range(min(count, _MOST_ENTRIES)):
            key = _text(stream)
            if key.startswith("tokenizer."):
                break
            if value := _value(stream, _number(stream)):
                found[key] = value
    except _UnreadableError:
        pass
    return found


def _made_from(metadata: Mapping[str, str]) -> tuple[str, str]:
    """A repository of the hub, and what it is to the file; empty where the header does not say."""
    for keys, how in ((_SOURCES, "source"), (_BASES, "base model")):
        for key in keys:
            if match := _REPOSITORY.fullmatch(metadata.get(key, "")):
                return match[1], how
    return "", ""


def _value(stream: BinaryIO, kind: int) -> str:
    """A text; empty for a value of another type, which is passed over."""
    if kind == _STRING:
        return _text(stream)
    if kind == _ARRAY:
        item, count = struct.unpack("<IQ", _take(stream, 12))
        for _ in range(min(count, HEAD_BYTES)):
            if item == _ARRAY:
                raise _UnreadableError
            _value(stream, item)
    elif kind in _FORMATS:
        _take(stream, struct.calcsize(f"<{_FORMATS[kind]}"))
    else:
        raise _UnreadableError
    return ""


def _text(stream: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", _take(stream, 8))
    if length > _LONGEST_TEXT:
        raise _UnreadableError
    return _take(stream, length).decode(errors="replace")


def _number(stream: BinaryIO) -> int:
    return int.from_bytes(_take(stream, 4), "little")


def _take(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise _UnreadableError
    return data
