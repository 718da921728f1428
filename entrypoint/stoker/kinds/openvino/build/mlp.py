"""Gated feed-forward blocks."""

from __future__ import annotations

from collections.abc import Sequence

from openvino import Node
from openvino import opset13 as ops

from stoker.kinds.openvino.build.encoding import Value
from stoker.kinds.openvino.build.families.spec import Mlp
from stoker.kinds.openvino.build.weights import Weights, split


def activated(x: Value, name: str) -> Node:
    if name == "silu":
        return ops.swish(x)
    return ops.gelu(x, "tanh" if name == "gelu_tanh" else "erf")


def feed_forward(x: Value, spec: Mlp, weights: Weights, layer: str, hidden_size: int) -> Node:
    """x is [batch, tokens, hidden]; `layer` is the name that the block's begins with."""
    name = f"{layer}.mlp"
    gate, up = _gate_and_up(x, spec, weights, name, hidden_size)
    down = weights.linear(f"{name}.down_proj", (hidden_size, spec.size), spec.bias)
    return down(ops.multiply(activated(gate, spec.activation), up))


def _gate_and_up(x: Value, spec: Mlp, weights: Weights, name: str, hidden_size: int) -> tuple[Value, Value]:
    parts: Sequence[Value]
    if spec.fused:
        whole = weights.linear(f"{name}.gate_up_proj", (2 * spec.size, hidden_size), spec.bias)(x)
        parts = split(whole, [spec.size] * 2)
    else:
        parts = weights.linears(x, name, {"gate_proj": spec.size, "up_proj": spec.size}, hidden_size, spec.bias)
    gate, up = parts
    return gate, up
