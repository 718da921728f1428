"""An adapter as TensorRT-LLM's C++ executor takes it: `lora_weights` and `lora_config` of the tensor contract.

A row for each module of each layer: A and B, flattened one after the other, filled up with zeros to the longest; and
its number, layer and rank. Numbers are those of LoraModule::ModuleType in TensorRT-LLM 1.2, whose names for the halves
of a gated MLP differ from Hugging Face's. Every rank gets the whole, and takes its share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stoker.errors import ModelError
from stoker.launch.generation import RequestRefusedError
from stoker.resolve.adapter_matrices import as_bf16, as_f16, read_matrices

MODULES: Mapping[str, tuple[int, str]] = {
    "q_proj": (1, "attn_q"),
    "k_proj": (2, "attn_k"),
    "v_proj": (3, "attn_v"),
    "o_proj": (4, "attn_dense"),
    "gate_proj": (5, "mlp_h_to_4h"),
    "down_proj": (6, "mlp_4h_to_h"),
    "up_proj": (7, "mlp_gate"),
}
"""Hugging Face's names, with TensorRT-LLM's numbers and names."""

_PLACE = re.compile(r"(?:.*\.)?layers\.(\d+)\.(?:self_attn|mlp)\.(\w+)")
_MOST_BYTES = (1 << 31) - (1 << 20)  # of a gRPC message
_LARGEST_F16 = 65504.0


@dataclass(frozen=True)
class AdapterTensors:
    """`weights` [rows, values] in f16, or the bits of bf16; `config` [rows, 3], int32."""

    weights: npt.NDArray[Any]
    config: npt.NDArray[np.int32]


def read_tensors(directory: Path, wire_type: str) -> AdapterTensors:
    """`wire_type`: FP16 or BF16, what the engine computes in. RequestRefusedError for what it has no place for."""
    try:
        matrices = read_matrices(directory)
    except (ModelError, OSError) as error:
        raise RequestRefusedError("the adapter cannot be read", why=str(error)) from error
    pairs = sorted(((_place(module), pair) for module, pair in matrices.items()), key=lambda each: each[0])
    width = max(inner.size + outer.size for _, (inner, outer) in pairs)
    if len(pairs) * width * 2 > _MOST_BYTES:
        raise RequestRefusedError("the adapter is too large", why=f"a message holds {_MOST_BYTES:,} bytes at most")
    weights = np.zeros((len(pairs), width), np.float16 if wire_type == "FP16" else np.uint16)
    for row, (place, (inner, outer)) in zip(weights, pairs, strict=True):
        flat = np.concatenate((inner.ravel(), outer.ravel()))
        row[: flat.size] = _narrow(flat, wire_type, place)
    config = [(number, layer, len(inner)) for (layer, number), (inner, _) in pairs]
    return AdapterTensors(weights, np.array(config, np.int32))


def _place(module: str) -> tuple[int, int]:
    """Layer and number."""
    match = _PLACE.fullmatch(module)
    if match is None or match[2] not in MODULES:
        why = f"only for {', '.join(MODULES)} in layers"
        raise RequestRefusedError(f"the engine takes no adapter for {module[:200]}", why=why)
    return int(match[1]), MODULES[match[2]][0]


def _narrow(values: npt.NDArray[np.float32], wire_type: str, place: tuple[int, int]) -> npt.NDArray[Any]:
    if wire_type != "FP16":
        return as_bf16(values)
    if np.abs(values).max(initial=0) > _LARGEST_F16:
        why = f"the engine computes in f16, and layer {place[0]} has numbers above {_LARGEST_F16:,.0f}"
        raise RequestRefusedError("the adapter is too large for the engine", why=why)
    return as_f16(values)
