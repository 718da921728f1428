"""A tiny language model with random weights, written as an OpenVINO graph by hand: one layer, stateful KV cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops
from openvino.op.util import Variable, VariableInfo

VOCABULARY = 256
HIDDEN = 64
HEADS = 2
POSITIONS = 512


def build_tiny_graph(directory: Path, *, dense: bool = False, seed: int = 7) -> Path:
    """Saves openvino_model.xml with the inputs, state and output that stateful decoders have; returns `directory`."""
    random = np.random.default_rng(seed)
    ids = _parameter("input_ids", [-1, -1], ov.Type.i64)
    mask = _parameter("attention_mask", [-1, -1], ov.Type.i64)
    positions = _parameter("position_ids", [-1, -1], ov.Type.i64)
    beams = _parameter("beam_idx", [-1], ov.Type.i32)
    hidden = ops.add(
        ops.gather(_matrix(random, VOCABULARY, HIDDEN), ids, 0),
        ops.gather(_matrix(random, POSITIONS, HIDDEN), positions, 0),
    )
    query, key, value = (_heads(ops.matmul(hidden, _matrix(random, HIDDEN, HIDDEN), False, True)) for _ in range(3))
    key, keys = _cache(key, ids, beams, "key")
    value, values = _cache(value, ids, beams, "value")
    attended = ops.scaled_dot_product_attention(query, key, value, _additive_mask(mask, ids))
    merged = ops.reshape(ops.transpose(attended, [0, 2, 1, 3]), [0, 0, HIDDEN], True)
    logits = ops.matmul(ops.add(hidden, merged), _matrix(random, VOCABULARY, HIDDEN), False, True)
    logits.output(0).set_names({"logits"})
    result = ops.result(logits)
    model = ov.Model([result], [keys, values], [ids, mask, positions, beams], "tiny")
    if dense:
        model.set_rt_info("dense", ["stoker", "attention"])
    ov.save_model(model, directory / "openvino_model.xml", compress_to_fp16=False)
    return directory


def _parameter(name: str, shape: list[int], kind: Any) -> Any:
    node = ops.parameter(ov.PartialShape(shape), kind)
    node.set_friendly_name(name)  # the paged-attention conversion looks it up by this
    node.output(0).set_names({name})
    return node


def _matrix(random: np.random.Generator, rows: int, columns: int) -> Any:
    return ops.constant(random.standard_normal((rows, columns)).astype(np.float32) * 0.6)


def _heads(projected: Any) -> Any:
    return ops.transpose(ops.reshape(projected, [0, 0, HEADS, HIDDEN // HEADS], True), [0, 2, 1, 3])


def _cache(current: Any, ids: Any, beams: Any, kind: str) -> tuple[Any, Any]:
    name = f"past_key_values.0.{kind}present.0.{kind}"
    variable = Variable(_variable_info(name))
    batch = ops.gather(ops.shape_of(ids, "i64"), ops.constant(np.array([0], np.int64)), 0)
    shape = ops.concat([batch, ops.constant(np.array([HEADS, 0, HIDDEN // HEADS], np.int64))], 0)
    past = ops.read_value(ops.broadcast(ops.constant(np.float32(0)), shape), variable)
    joined = ops.concat([ops.gather(past, beams, 0), current], 2)
    return joined, ops.assign(joined, variable)


def _variable_info(name: str) -> Any:
    info = VariableInfo()
    info.data_shape = ov.PartialShape([-1, HEADS, -1, HIDDEN // HEADS])
    info.data_type = ov.Type.f32
    info.variable_id = name
    return info


def _additive_mask(mask: Any, ids: Any) -> Any:
    """Causal, [batch, 1, new, all]: 0 where seen, a large negative number elsewhere."""
    total = _length(mask)
    past = ops.subtract(total, _length(ids))
    columns = ops.unsqueeze(ops.range(ops.constant(np.int64(0)), total, ops.constant(np.int64(1)), "i64"), 0)
    rows = ops.unsqueeze(ops.range(past, total, ops.constant(np.int64(1)), "i64"), 1)
    seen = ops.logical_and(
        ops.unsqueeze(ops.less_equal(columns, rows), ops.constant(np.array([0, 1]))),
        ops.unsqueeze(ops.not_equal(mask, ops.constant(np.int64(0))), ops.constant(np.array([1, 2]))),
    )
    return ops.select(seen, ops.constant(np.float32(0)), ops.constant(np.float32(-1e9)))


def _length(node: Any) -> Any:
    return ops.gather(ops.shape_of(node, "i64"), ops.constant(np.int64(1)), 0)
