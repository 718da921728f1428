"""Self-attention with a key-value cache in the model's state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset6
from openvino import opset13 as ops
from openvino.op.util import Variable, VariableInfo

from stoker.kinds.openvino.build.encoding import Value
from stoker.kinds.openvino.build.families.spec import Attention
from stoker.kinds.openvino.build.norms import rms_norm
from stoker.kinds.openvino.build.rope import Rotation, rotate
from stoker.kinds.openvino.build.rows import Rows
from stoker.kinds.openvino.build.weights import Weights, split


@dataclass
class Cache:
    """The states of all layers. `batch` is the batch size as a vector of one element. Without `beam_idx` nothing is
    kept: the graph is given each sequence whole."""

    beam_idx: ov.Node | None
    batch: ov.Node | None
    sinks: list[ov.Node]

    def extended(self, layer: int, part: str, x: Value, heads: int, size: int) -> Value:
        """Past and present along axis 2. The variable's name is what OpenVINO's tools expect of a decoder."""
        if self.beam_idx is None or self.batch is None:
            return x
        info = VariableInfo()
        info.data_shape = ov.PartialShape([-1, heads, -1, size])
        info.data_type = ov.Type.f32
        info.variable_id = f"past_key_values.{layer}.{part}present.{layer}.{part}"
        variable = Variable(info)
        shape = ops.concat([self.batch, np.array([heads, 0, size], np.int64)], 0)
        past = opset6.read_value(ops.broadcast(np.float32(0), shape), variable)
        whole = ops.concat([ops.gather(past, self.beam_idx, np.int64(0)), x], 2)
        self.sinks.append(opset6.assign(whole, variable))
        return whole


@dataclass(frozen=True)
class Step:
    """What one step's attention needs beside the hidden states: turns are by rope, masks by window."""

    cache: Cache
    turn: Rotation | None
    mask: ov.Node
    eps: float
    norm_offset: float
    rows: Rows


def attend(
    x: Value,
    spec: Attention,
    weights: Weights,
    name: str,
    hidden_size: int,
    layer: int,
    step: Step,
    *,
    inputs: int | None = None,
) -> ov.Node:
    """x is [batch, tokens, inputs], `hidden_size` unless stated; `name` is the block's, such as
    `model.layers.0.self_attn`."""
    query, key, value = _projected(x, spec, weights, name, inputs or hidden_size, step)
    if step.turn is not None:
        query, key = (rotate(each, step.turn, spec.head_size) for each in (query, key))
    keys = _repeated(step.cache.extended(layer, "key", key, spec.kv_heads, spec.head_size), spec)
    values = _repeated(step.cache.extended(layer, "value", value, spec.kv_heads, spec.head_size), spec)
    mixed = _mixed(query, keys, values, step.mask, spec)
    width = spec.heads * spec.head_size
    joined = ops.reshape(_swapped(mixed), np.array([0, 0, width], np.int64), True)
    return weights.linear(f"{name}.o_proj", (hidden_size, width), spec.output_bias)(step.rows.filled(joined))


def _projected(x: Value, spec: Attention, weights: Weights, name: str, inputs: int, step: Step) -> list[ov.Node]:
    """Queries, keys and values, each [batch, heads, tokens, head_size]."""
    widths = [spec.heads * spec.head_size] + [spec.kv_heads * spec.head_size] * 2
    parts: Sequence[Value]
    if spec.fused:
        whole = weights.linear(f"{name}.qkv_proj", (sum(widths), inputs), spec.input_bias)(x)
        parts = split(whole, widths)
    else:
        names = ("q_proj", "k_proj", "v_proj")
        parts = weights.linears(x, name, dict(zip(names, widths, strict=True)), inputs, spec.input_bias)
    parts = [step.rows.own(part) for part in parts]
    parts = [_normed(x, part, spec, weights, f"{name}.{part}_norm", step) for x, part in zip(parts, "qkv", strict=True)]
    return [_swapped(part) for part in parts]


def _normed(x: Value, part: str, spec: Attention, weights: Weights, name: str, step: Step) -> ov.Node:
    """Split into heads, [batch, tokens, heads, head_size], normalised before or after as the model wants it."""
    heads = spec.heads if part == "q" else spec.kv_heads
    apart = np.array([0, 0, heads, spec.head_size], np.int64)
    if part == "v" or spec.norm == "none":
        return ops.reshape(x, apart, True)
    if spec.norm == "width":
        weight = weights.vector(f"{name}.weight", heads * spec.head_size, step.norm_offset)
        return ops.reshape(rms_norm(x, weight, step.eps), apart, True)
    weight = weights.vector(f"{name}.weight", spec.head_size, step.norm_offset)
    return rms_norm(ops.reshape(x, apart, True), weight, step.eps)


def _swapped(x: Value) -> ov.Node:
    """Tokens and heads change places."""
    return ops.transpose(x, np.array([0, 2, 1, 3], np.int64))


def _repeated(x: Value, spec: Attention) -> Value:
    """Key-value heads, once for each query head that shares them."""
    group = spec.heads // spec.kv_heads
    if group == 1:
        return x
    ones = np.array([1, 1, group, 1, 1], np.int64)
    spread = ops.broadcast(ops.unsqueeze(x, np.int64(2)), ones, broadcast_spec="BIDIRECTIONAL")
    return ops.reshape(spread, np.array([0, spec.heads, -1, spec.head_size], np.int64), True)


def _mixed(query: Value, key: Value, value: Value, mask: Value, spec: Attention) -> ov.Node:
    scale = np.float32(spec.scale)
    if spec.softcap is None:
        return ops.scaled_dot_product_attention(query, key, value, mask, scale, False)
    cap = np.float32(spec.softcap)
    scores = ops.multiply(ops.matmul(query, key, False, True), scale)
    capped = ops.multiply(ops.tanh(ops.divide(scores, cap)), cap)
    return ops.matmul(ops.softmax(ops.add(capped, mask), -1), value, False, False)
