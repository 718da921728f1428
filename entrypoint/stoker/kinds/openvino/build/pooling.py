"""From a model's last hidden states to one vector for each input."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from openvino import Node
from openvino import opset13 as ops

from stoker.kinds.openvino.build.encoding import Value
from stoker.resolve.model import Pooling

_TOKENS = np.array([1], np.int64)
_LAST = np.array([-1], np.int64)
_LEAST_LENGTH = np.float32(1e-12)


def pooled(hidden: Value, attention_mask: Value, pooling: Pooling) -> Node:
    """`hidden` is [batch, tokens, width], `attention_mask` i64 [batch, tokens] with the padding at the end; the result
    is [batch, width]."""
    vectors = _METHODS[pooling.method](hidden, attention_mask)
    return normalized(vectors) if pooling.normalized else vectors


def first(hidden: Value, _: Value | None = None) -> Node:
    return ops.gather(hidden, np.int64(0), np.int64(1))


def _mean(hidden: Value, attention_mask: Value) -> Node:
    present = ops.unsqueeze(ops.convert(attention_mask, "f32"), _LAST)
    return ops.divide(ops.reduce_sum(ops.multiply(hidden, present), _TOKENS), ops.reduce_sum(present, _TOKENS))


def _last(hidden: Value, attention_mask: Value) -> Node:
    place = ops.subtract(ops.reduce_sum(attention_mask, _TOKENS), np.int64(1))
    return ops.gather(hidden, place, np.int64(1), 1)


def normalized(vectors: Value) -> Node:
    """Of length 1."""
    return ops.divide(vectors, ops.maximum(ops.reduce_l2(vectors, _LAST, True), _LEAST_LENGTH))


_METHODS: Mapping[str, Callable[[Value, Value], Node]] = {"cls": first, "mean": _mean, "last": _last}
