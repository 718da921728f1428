"""The numbers of an adapter in PEFT's format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stoker.errors import DamagedModelError
from stoker.resolve.json_files import read_json
from stoker.resolve.lora import CONFIG, WEIGHTS, part_of, read_lora_config
from stoker.resolve.safetensors_header import read_header

Matrix = npt.NDArray[np.float32]
Pair = tuple[Matrix, Matrix]

_TYPES: Mapping[str, type[Any]] = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


def read_matrices(directory: Path) -> dict[str, Pair]:
    """A [rank, inputs] and B [outputs, rank] times its scale, in f32, by module as the adapter calls it. A ModelError,
    or OSError."""
    place, path = directory.name, directory / WEIGHTS
    config, header = read_lora_config(read_json(directory / CONFIG), place), read_header(path)
    halves: dict[str, dict[str, Matrix]] = {}
    with path.open("rb") as file:
        for name, tensor in header.tensors.items():
            part = part_of(name, place)
            file.seek(header.data_start + tensor.begin)
            values = _as_f32(file.read(tensor.end - tensor.begin), tensor.dtype).reshape(tensor.shape)
            scale = np.float32(config.scale(part.module) if part.part == "B" else 1)
            halves.setdefault(part.module, {})[part.part] = values * scale
    if missing := next((module for module, parts in halves.items() if len(parts) != len("AB")), None):
        raise DamagedModelError(f"{place} is incomplete", why=f"one half of {missing[:200]} is missing")
    return {module: (parts["A"], parts["B"]) for module, parts in halves.items()}


def _as_f32(data: bytes, dtype: str) -> Matrix:
    if dtype not in _TYPES:
        raise DamagedModelError("an adapter is damaged", why=f"it has a tensor of {dtype}")
    values = np.frombuffer(data, _TYPES[dtype])
    return (values.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else values.astype(np.float32)


def as_bf16(values: Matrix) -> npt.NDArray[np.uint16]:
    """The bits, rounded to the nearest, ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def as_f16(values: Matrix) -> npt.NDArray[np.float16]:
    """Infinite where it is too large."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16)
