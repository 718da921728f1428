"""Random weights that depend on nothing but a tensor's name, its shape and one factor, so that golden files need not
hold them; and a writer of safetensors files."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def weight(name: str, shape: tuple[int, ...], embedding_gain: float) -> npt.NDArray[np.float32]:
    """Scaled so that attention looks around, residuals do not drown the blocks, and logits spread."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    draw = random.standard_normal(shape)
    if name.lower().endswith("norm.weight"):
        return (1 + 0.2 * draw).astype(np.float32)
    if len(shape) == 1:
        return (0.3 * draw).astype(np.float32)
    gain = embedding_gain if "embed_tokens" in name else _gain(name)
    return (gain * draw / np.sqrt(shape[-1])).astype(np.float32)


def _gain(name: str) -> float:
    for part, gain in (("lm_head", 4.0), ("k_proj", 1.6), ("q_proj", 1.6), (".gate.weight", 3.0)):
        if part in name:
            return gain
    return 2.0


def write_safetensors(path: Path, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    """Tensors in one file, f32 as F32 and bytes as F8_E4M3."""
    header: dict[str, Any] = {}
    offset = 0
    for name, tensor in tensors.items():
        dtype = "F8_E4M3" if tensor.dtype == np.uint8 else "F32"
        header[name] = {"dtype": dtype, "shape": tensor.shape, "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            stream.write(tensor.tobytes())


def write_model(
    directory: Path, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], embedding_gain: float
) -> None:
    (directory / "config.json").write_text(json.dumps(config))
    tensors = {name: weight(name, tuple(shape), embedding_gain) for name, shape in shapes.items()}
    write_safetensors(directory / "model.safetensors", tensors)
