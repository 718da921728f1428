"""Safetensors files: what is read, and how each kind of damage is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stoker.errors import DamagedModelError
from stoker.kinds.openvino.build.checkpoint import open_checkpoint


def write(path: Path, header: Any, data: bytes = b"", padding: int = 0) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode() + b" " * padding
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_tensors_are_views_with_bf16_as_bits(tmp_path: Path) -> None:
    ones = np.array([0x3F80, 0xC000], np.uint16)
    header = {"__metadata__": {"format": "pt"}, "a": entry("BF16", [2], 0, 4), "b": entry("I8", [2, 1], 4, 6)}
    write(tmp_path / "model.safetensors", header, ones.tobytes() + b"\x01\xff")
    checkpoint = open_checkpoint(tmp_path)
    assert sorted(checkpoint.names()) == ["a", "b"]
    assert checkpoint.tensor("a").as_f32().tolist() == [1.0, -2.0]
    assert checkpoint.tensor("b").data.tolist() == [[1], [-1]]
    assert not checkpoint.tensor("b").data.flags.owndata


def test_unaligned_tensors_are_read_right(tmp_path: Path) -> None:
    values = np.array([1.5, -2.5], np.float32)
    for padding in range(4):
        write(tmp_path / "model.safetensors", {"a": entry("F32", [2], 0, 8)}, values.tobytes(), padding)
        data = open_checkpoint(tmp_path).tensor("a").data
        assert data.tolist() == [1.5, -2.5]
        assert data.ctypes.data % 4 == 0


def test_shards_are_found_through_the_index(tmp_path: Path) -> None:
    for shard in ("one", "two"):
        write(tmp_path / f"{shard}.safetensors", {shard: entry("U8", [1], 0, 1)}, b"\x07")
    write(tmp_path / "stray.safetensors", {"stray": entry("U8", [1], 0, 1)}, b"\x07")
    index(tmp_path, {"one": "one.safetensors", "two": "two.safetensors"})
    assert sorted(open_checkpoint(tmp_path).names()) == ["one", "two"]


def index(directory: Path, weight_map: Any) -> None:
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


GOOD = {"a": entry("F32", [2], 0, 8)}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "model.safetensors cannot be read"),
        (b"\x01\x02", "model.safetensors is truncated"),
        ((2**40).to_bytes(8, "little") + b"{}", "model.safetensors is truncated"),
        ((4).to_bytes(8, "little") + b"{{{{", "damaged header"),
        ((2).to_bytes(8, "little") + b"[]", "damaged header"),
    ],
)
def test_garbage_names_the_file(tmp_path: Path, content: bytes, named: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(DamagedModelError, match=named):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ({"a": entry("F32", [2], 0, 16)}, "tensor a ends at byte 16"),
        ({"a": entry("F32", [3], 0, 8)}, "tensor a does not have the size of its shape"),
        ({"a": entry("F32", [-2], 0, 8)}, "tensor a does not have the size"),
        ({"a": entry("F32", [2], 8, 0)}, "tensor a"),
        ({"a": entry("Q4", [2], 0, 8)}, "tensor a is described wrongly"),
        ({"a": {"dtype": "F32"}}, "tensor a is described wrongly"),
        ({"a": None}, "tensor a is described wrongly"),
    ],
)
def test_wrong_descriptions_name_the_tensor(tmp_path: Path, header: Any, named: str) -> None:
    write(tmp_path / "model.safetensors", header, bytes(8))
    with pytest.raises(DamagedModelError, match=named):
        open_checkpoint(tmp_path)


def test_missing_pieces_are_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedModelError, match="no safetensors files"):
        open_checkpoint(tmp_path)
    index(tmp_path, {"a": "gone.safetensors"})
    with pytest.raises(DamagedModelError, match=r"gone\.safetensors is missing"):
        open_checkpoint(tmp_path)
    write(tmp_path / "gone.safetensors", GOOD, bytes(8))
    index(tmp_path, {"a": "gone.safetensors", "b": "gone.safetensors"})
    with pytest.raises(DamagedModelError, match="tensor b is missing"):
        open_checkpoint(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("nonsense")
    with pytest.raises(DamagedModelError, match=r"index\.json is not"):
        open_checkpoint(tmp_path)


def test_a_tensor_in_two_shards_is_damage(tmp_path: Path) -> None:
    for shard in ("one", "two"):
        write(tmp_path / f"{shard}.safetensors", GOOD, bytes(8))
    with pytest.raises(DamagedModelError, match="tensor a is in several files"):
        open_checkpoint(tmp_path)
