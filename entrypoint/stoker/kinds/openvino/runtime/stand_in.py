"""The smallest graph that OpenVINO GenAI takes for a language model: one head of attention, no opinion on any token.

A pipeline over it shares the engine's tokenizer, and with it the store of compiled grammars.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
from openvino import opset13 as ops
from openvino.op.util import Variable, VariableInfo

_SIZE = 8


def write_stand_in(directory: Path, logits: int) -> Path:
    """openvino_model.xml with `logits` zeros for each token; returns `directory`."""
    ids, mask, positions = (_parameter(name, [-1, -1], openvino.Type.i64)
                            for name in ("input_ids", "attention_mask", "position_ids"))  # fmt: skip
    beams = _parameter("beam_idx", [-1], openvino.Type.i32)
    hidden = ops.multiply(ops.convert(ops.unsqueeze(ops.add(ids, positions), 2), "f32"), np.ones((1, 1, _SIZE), "f4"))
    head = ops.reshape(hidden, np.array([0, 1, -1, _SIZE]), True)
    key, keys = _cached(head, beams, "key")
    value, values = _cached(head, beams, "value")
    attended = ops.scaled_dot_product_attention(head, key, value, _additive(mask))
    weight = ops.reduce_sum(ops.reshape(attended, np.array([0, -1, _SIZE]), True), np.array([2]), True)
    output = ops.multiply(weight, np.zeros((1, 1, logits), np.float32))
    output.output(0).set_names({"logits"})
    model = openvino.Model([ops.result(output)], [keys, values], [ids, mask, positions, beams], "stand-in")
    openvino.save_model(model, directory / "openvino_model.xml", compress_to_fp16=False)
    return directory


def _parameter(name: str, shape: list[int], kind: openvino.Type) -> openvino.Node:
    node = ops.parameter(shape, kind)
    node.set_friendly_name(name)  # the paged-attention conversion looks it up by this
    node.output(0).set_names({name})
    return node


def _cached(current: openvino.Node, beams: openvino.Node, kind: str) -> tuple[openvino.Node, openvino.Node]:
    """[batch, 1, tokens so far, size]"""
    info = VariableInfo()
    info.data_shape = openvino.PartialShape([-1, 1, -1, _SIZE])
    info.data_type = openvino.Type.f32
    info.variable_id = f"past_key_values.0.{kind}present.0.{kind}"
    variable = Variable(info)
    batch = ops.gather(ops.shape_of(current, "i64"), np.array([0]), np.int64(0))
    empty = ops.broadcast(np.float32(0), ops.concat([batch, ops.constant(np.array([1, 0, _SIZE]))], 0))
    joined = ops.concat([ops.gather(ops.read_value(empty, variable), beams, np.int64(0)), current], 2)
    return joined, ops.assign(joined, variable)


def _additive(mask: openvino.Node) -> openvino.Node:
    """[batch, 1, 1, tokens so far]"""
    return ops.convert(ops.unsqueeze(ops.subtract(mask, np.int64(1)), np.array([1, 2])), "f32")
