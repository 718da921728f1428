"""Gated feed-forward blocks."""

from __future__ import annotations

from typing import Any

from openvino import opset13 as ops

from stoker.kinds.openvino.build.families.spec import Mlp
from stoker.kinds.openvino.build.weights import Weights, split


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
        gate, up = split(whole, [spec.size] * 2)
    else:
        gate, up = weights.linears(x, name, {"gate_proj": spec.size, "up_proj": spec.size}, hidden_size, spec.bias)
    return gate, up
