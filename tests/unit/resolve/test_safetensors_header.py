from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.errors import DamagedModelError
from stoker.resolve.safetensors_header import DTYPE_BITS, Tensor, parse_header, read_header

EIGHT = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def write(path: Path, header: Any, data_bytes: int) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(data_bytes))
    return path


def test_reads_what_the_format_s_own_library_writes(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    library = pytest.importorskip("safetensors.numpy")
    arrays = {
        "b": numpy.ones((3, 5), numpy.float32),
        "a": numpy.ones((), numpy.int64),
        "c": numpy.ones((0, 4), numpy.int8),
    }
    library.save_file(arrays, tmp_path / "x.safetensors", metadata={"format": "pt"})
    header = read_header(tmp_path / "x.safetensors")
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in header.tensors.items()} == {
        "a": ("I64", ()),
        "b": ("F32", (3, 5)),
        "c": ("I8", (0, 4)),
    }
    assert header.metadata == {"format": "pt"}
    data = (tmp_path / "x.safetensors").read_bytes()[header.data_start :]
    b = header.tensors["b"]
    assert data[b.begin : b.end] == arrays["b"].tobytes()


def test_sub_byte_dtype(tmp_path: Path) -> None:
    header = read_header(write(tmp_path / "x", {"x": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}, 2))
    assert header.tensors["x"] == Tensor("F4", (4,), 0, 2)


@pytest.mark.parametrize(
    ("header", "data_bytes", "complaint"),
    [
        ({"x": EIGHT}, 7, "truncated"),
        ({"x": EIGHT}, 9, "1 bytes more"),
        ({"x": {**EIGHT, "dtype": "Q8"}}, 8, "unknown dtype 'Q8'"),
        ({"x": {**EIGHT, "dtype": ["F32"]}}, 8, "unknown dtype"),
        ({"x": {**EIGHT, "dtype": {}}}, 8, "unknown dtype"),
        ({"x": {**EIGHT, "shape": ["2"]}}, 8, "malformed"),
        ({"x": {**EIGHT, "shape": [1] * 100}}, 8, "malformed"),
        ({"x": {**EIGHT, "shape": [10**60, 0]}}, 8, "malformed"),
        ({"x": {**EIGHT, "data_offsets": ["0", "8"]}}, 8, "malformed"),
        ({"x": {**EIGHT, "data_offsets": [0, True]}}, 8, "malformed"),
        (b'{"x": 1, "x": 2}', 8, "'x' twice"),
        ({"x": {**EIGHT, "shape": [3]}}, 8, "cannot lie in 8 bytes"),
        ({"x": {**EIGHT, "shape": [-2]}}, 8, "malformed"),
        ({"x": {**EIGHT, "data_offsets": [8, 0]}}, 8, "cannot lie in -8 bytes"),
        ({"x": {**EIGHT, "data_offsets": [0]}}, 8, "malformed"),
        ({"x": {"dtype": "F32"}}, 8, "malformed"),
        ({"x": {**EIGHT, "data_offsets": [8, 16]}}, 16, "byte 8 where 0 is due"),
        ({"x": EIGHT, "y": EIGHT}, 8, "byte 0 where 8 is due"),
        ({"x": EIGHT, "y": {**EIGHT, "data_offsets": [12, 20]}}, 20, "byte 12 where 8 is due"),
        (b"{", 8, "not JSON"),
        (b'{"x":' + b"[" * 200_000, 8, "not JSON"),
        (b"[]", 8, "not a JSON object"),
    ],
)
def test_an_unsound_header_is_refused(tmp_path: Path, header: Any, data_bytes: int, complaint: str) -> None:
    with pytest.raises(DamagedModelError, match=complaint) as caught:
        read_header(write(tmp_path / "w.safetensors", header, data_bytes))
    assert "w.safetensors" in caught.value.what


@pytest.mark.parametrize(
    ("contents", "complaint"),
    [
        (b"", "too few"),
        (b"1234567", "too few"),
        ((1000).to_bytes(8, "little") + b"{}", "truncated"),
        ((1 << 40).to_bytes(8, "little") + b"{}", "no safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
    ],
)
def test_an_unsound_length_is_refused(tmp_path: Path, contents: bytes, complaint: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(contents)
    with pytest.raises(DamagedModelError, match=complaint):
        read_header(path)


NUMBERS: st.SearchStrategy[object] = st.one_of(
    st.integers(-2, 20), st.sampled_from([None, True, 1.5, float("nan"), "", "F32", [], {}])
)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.one_of(st.sampled_from(sorted(DTYPE_BITS)), NUMBERS),
        "shape": st.one_of(st.lists(NUMBERS, max_size=3), NUMBERS),
        "data_offsets": st.one_of(st.lists(NUMBERS, max_size=3), NUMBERS),
    },
)


@settings(database=None)
@given(st.dictionaries(st.sampled_from(["__metadata__", "x", "y"]), st.one_of(ENTRIES, NUMBERS)), st.integers(0, 64))
def test_any_header_is_read_in_full_or_refused(entries: dict[str, Any], data_bytes: int) -> None:
    text = json.dumps(entries).encode()
    try:
        header = parse_header(text, 8 + len(text) + data_bytes, "w.safetensors")
    except DamagedModelError:
        return
    assert sum(tensor.end - tensor.begin for tensor in header.tensors.values()) == data_bytes
    assert set(header.tensors) == set(entries) - {"__metadata__"}
