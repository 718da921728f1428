"""How many rows the matrix products of a decoding step have.

OpenVINO's bf16 kernels (oneDNN's brgemm) take longer for one row than for five: the product of one row waits for each
piece of the matrix, that of several works on one piece while the next one comes. On an AVX-512 machine a step of a
0.5B shape takes 1.2 times as long with one row as with five, and with seven nearly as long as with one. So what has
fewer rows is filled up with copies of its last one, all through the decoder except attention, which takes each token
as it is. In other precisions one row is the quickest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from openvino import Node
from openvino import opset13 as ops

from stoker.kinds.openvino.build.encoding import Value

FEWEST = 5
SAMPLED = "sampled_tokens_indices"
"""OpenVINO GenAI's name for the input that says which rows logits are wanted of; it adds such an input itself only to a
graph that ends with the product."""

_FIRST = np.int32(0)


class Rows(Protocol):
    """Rows lie along the first axis, where paged attention has its tokens."""

    def filled(self, x: Node) -> Node:
        """With the copies."""

    def own(self, x: Value) -> Value:
        """Without them."""

    def ended(self, hidden: Node, head: Callable[[Node], Node]) -> Node:
        """The logits of last hidden states."""


class AsTheyAre:
    """No copies."""

    def filled(self, x: Node) -> Node:
        return x

    def own(self, x: Value) -> Value:
        return x

    def ended(self, hidden: Node, head: Callable[[Node], Node]) -> Node:
        return head(hidden)


class FilledUp:
    """At least FEWEST rows. `ids` has as many of its own; `sampled` is the parameter SAMPLED, which may be empty."""

    def __init__(self, ids: Value, sampled: Value) -> None:
        self._sampled = sampled
        self._filled, self._own = _filled_and_own(ids)

    def filled(self, x: Node) -> Node:
        return ops.gather(x, self._filled, _FIRST)

    def own(self, x: Value) -> Value:
        return ops.gather(x, self._own, _FIRST)

    def ended(self, hidden: Node, head: Callable[[Node], Node]) -> Node:
        """Of none, the copies are of the first row."""
        filled, own = _filled_and_own(self._sampled)
        rows = ops.concat([ops.convert(self._sampled, "i32"), np.array([0], np.int32)], 0)
        wanted = ops.gather(rows, filled, _FIRST)
        return ops.gather(head(ops.gather(hidden, wanted, _FIRST)), own, _FIRST)


def _filled_and_own(like: Value) -> tuple[Node, Node]:
    """Indices into the first axis of what is as long as `like`, i32: with the copies, and without."""
    count = ops.gather(ops.shape_of(like, "i32"), _FIRST, _FIRST)
    last = ops.maximum(ops.subtract(count, np.int32(1)), _FIRST)
    every = ops.range(_FIRST, ops.maximum(count, np.int32(FEWEST)), np.int32(1), "i32")
    return ops.minimum(every, last), ops.range(_FIRST, count, np.int32(1), "i32")
