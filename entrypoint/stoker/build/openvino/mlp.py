"""Gated feed-forward blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import opset13 as ops

from stoker.build.openvino.families.spec import Mlp
from stoker.build.openvino.weights import Weights


def activated(x: Any, name: str) -> Any:
    if name == "silu":
        return ops.swish(x)
    return ops.gelu(x, "tanh" if name == "gelu_tanh" else "erf")


def feed_forward(x: Any, spec: Mlp, weights: Weights, layer: str, hidden_size: int) -> Any:
    """x is [batch, tokens, hidden]; `layer` is the name that the block's begins with."""
    name = f"{layer}.mlp"
    gate, up = _gate_and_up(x, spec, weights, name, hidden_size)
    down = weights.linear(f"{name}.down_proj", (hidden_size, spec.size), spec.bias)
    return down(ops.multiply(activated(gate, spec.activation), up))


def _gate_and_up(x: Any, spec: Mlp, weights: Weights, name: str, hidden_size: int) -> tuple[Any, Any]:
    if spec.fused:
        whole = weights.linear(f"{name}.gate_up_proj", (2 * spec.size, hidden_size), spec.bias)(x)
        gate, up = ops.variadic_split(whole, np.int64(2), np.array([spec.size] * 2, np.int64)).outputs()
        return gate, up
    shape = (spec.size, hidden_size)
    gate_proj = weights.linear(f"{name}.gate_proj", shape, spec.bias)
    return gate_proj(x), weights.linear(f"{name}.up_proj", shape, spec.bias)(x)
