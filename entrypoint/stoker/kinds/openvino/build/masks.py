"""Attention masks, additive f32 [batch, 1, tokens, total].

The paged pipeline drops these subgraphs and masks by itself; a sliding window reaches its kernel only through the exact
shape of subgraph that OpenVINO's `StateManagementPattern` pass knows (its "gpt-oss" pattern): Greater(key index,
query index + constant), then four BitwiseAnds, Broadcast, Select and Slice, in this order of operands.
"""

from __future__ import annotations

import numpy as np
from openvino import Node
from openvino import opset13 as ops

from stoker.kinds.openvino.build.encoding import Value

HIDDEN = np.float32(-65504.0)
"""Added to scores that must not count: finite in every precision, so that a row without any key stays a number."""

ZERO = np.array([0], np.int64)


class Masks:
    """The masks of one graph, each built once. `input_ids` is [batch, tokens], `attention_mask` [batch, total]."""

    def __init__(self, input_ids: Value, attention_mask: Value) -> None:
        self._built: dict[int | None, Node] = {}
        self._present = ops.unsqueeze(ops.convert(attention_mask, "boolean"), np.array([1, 2], np.int64))
        batch, tokens = _sizes(input_ids)
        _, self._total = _sizes(attention_mask)
        self._keys = _axes(_range(ops.constant(ZERO), self._total), [0, 1, 2])
        self._queries = _axes(_range(ops.subtract(self._total, tokens), self._total), [0, 1, 3])
        self._shape = ops.concat([batch, np.array([1], np.int64), tokens, self._total], 0)

    def mask(self, window: int | None) -> Node:
        if window not in self._built:
            self._built[window] = self._build(window)
        return self._built[window]

    def _build(self, window: int | None) -> Node:
        causal = ops.less_equal(self._keys, self._queries)
        near = np.array(True) if window is None else self._within(window)
        allowed = ops.bitwise_and(ops.constant(np.array(True)), near)
        allowed = ops.bitwise_and(allowed, causal)
        allowed = ops.bitwise_and(ops.constant(np.array(True)), allowed)
        allowed = ops.bitwise_and(allowed, self._present)
        whole = ops.broadcast(allowed, self._shape)
        added = ops.select(whole, np.float32(0), HIDDEN)
        return ops.slice(added, ZERO, self._total, np.array([1], np.int64), np.array([3], np.int64))

    def _within(self, window: int) -> Node:
        return ops.greater(self._keys, ops.add(self._queries, ops.constant(np.int64(-window))))


def _sizes(x: Value) -> tuple[Node, Node]:
    """Both dimensions of a matrix, each as a vector of one element."""
    shape = ops.shape_of(x)
    first, second = (ops.gather(shape, np.array([axis], np.int64), np.int64(0)) for axis in (0, 1))
    return first, second


def _range(start: Value, stop: Value) -> Node:
    scalar = np.array([], np.int64)
    return ops.range(ops.reshape(start, scalar, False), ops.reshape(stop, scalar, False), np.int64(1), "i64")


def _axes(x: Value, axes: list[int]) -> Node:
    return ops.unsqueeze(x, np.array(axes, np.int64))
