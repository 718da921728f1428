"""GGUF files: not served, but told what they were made from."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import NoSafetensorsError
from stoker.progress import Silent
from stoker.resolve.gguf import read_metadata
from stoker.resolve.resolve import resolve


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(entries: dict[str, str | int | list[int]]) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries))
    for key, value in entries.items():
        head += text(key)
        if isinstance(value, str):
            head += struct.pack("<I", 8) + text(value)
        elif isinstance(value, int):
            head += struct.pack("<II", 4, value)
        else:
            head += struct.pack("<IIQ", 9, 5, len(value)) + struct.pack(f"<{len(value)}i", *value)
    return head


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"general.source.huggingface.repository": "org/a"}, "as its source: stoker serve org/a"),
        ({"general.source.repo_url": "https://huggingface.co/org/b"}, "as its source: stoker serve org/b"),
        (
            {"general.base_model.count": 1, "general.base_model.0.repo_url": "https://huggingface.co/org/c"},
            "as its base model: stoker serve org/c",
        ),
        ({"general.name": "x", "general.base_model.0.repo_url": "https://elsewhere/x"}, "safetensors repository"),
    ],
)
def test_the_error_names_what_the_file_was_made_from(tmp_path: Path, entries: dict[str, str], said: str) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(gguf({"general.architecture": "qwen2", "general.tags": [1, 2], **entries}))
    for named in (file, tmp_path):
        with pytest.raises(NoSafetensorsError, match="holds GGUF, which is not served") as caught:
            resolve(str(named), tmp_path / "cache", Silent())
        assert said in caught.value.remedy


@given(st.binary(max_size=300))
def test_nothing_in_a_header_is_an_error(rest: bytes) -> None:
    read_metadata(BytesIO(rest))
    read_metadata(BytesIO(b"GGUF" + rest))
    read_metadata(BytesIO(gguf({"general.name": "x"})[:-1] + rest))


def test_a_header_that_claims_too_much_is_left(tmp_path: Path) -> None:
    assert read_metadata(BytesIO(b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60) + struct.pack("<Q", 1 << 60))) == {}
