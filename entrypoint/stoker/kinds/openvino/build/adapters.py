"""Where LoRA adapters change a decoder's graph: of every projection y = W x, for the adapter of each token,
y = W x + B (A x).

OpenVINO GenAI applies adapters to a whole pipeline, not to one sequence of it, and its prefix cache takes no account of
them. So the graph itself knows the adapter of each token. The first id of a prompt is given as
id + number * vocabulary, which keeps prefixes of different adapters apart in the cache, whose blocks go by their ids.
A small attention layer finds the number again: only the first token has a key, and its value is the number in bits. It
lies in the paged cache like any other layer's, so that it survives chunks, batches, preemption and cached prefixes.

The matrices of all adapters lie one after another in A [rows, inputs] and B [outputs, rows]; a mask, one for each
number, lets through the rows of one adapter. In the built engine they are placeholders without an adapter;
OpenVINO GenAI puts those of an adapter's file in their place when it opens the graph (runtime/adapters.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
from openvino import Node
from openvino import opset13 as ops

from stoker.kinds.openvino.build.attention import Cache
from stoker.kinds.openvino.build.encoding import Value
from stoker.kinds.openvino.build.families.spec import Decoder
from stoker.kinds.openvino.build.rows import Rows
from stoker.kinds.openvino.files import LARGEST_NUMBER, Target, constant_name

_BITS = LARGEST_NUMBER.bit_length()
_LOUD = np.float32(16)  # a score of 256 beside scores of 0: whatever the precision, nothing else is heard


class Adapters:
    """One graph's. `ids` are the plain token ids, without the adapter's number."""

    def __init__(self, input_ids: Value, decoder: Decoder) -> None:
        size = np.int64(decoder.vocabulary_size)
        number = ops.divide(input_ids, size)
        self.ids = ops.subtract(input_ids, ops.multiply(number, size))
        self._vocabulary = decoder.vocabulary_size
        self.targets: list[Target] = []
        self._number = number
        self._head_size = decoder.layers[0].attention.head_size
        self._layer = len(decoder.layers)
        self._masks: dict[int, Node] = {}
        self._numbers: Node | None = None
        self._rows: Rows | None = None

    def listen(self, cache: Cache, position_ids: Value, mask: Value, rows: Rows) -> None:
        """Finds each token's number; before the first projection."""
        first = ops.unsqueeze(ops.convert(ops.equal(position_ids, np.int64(0)), "f32"), np.array([1, 3], np.int64))
        loud = np.zeros((1, 1, 1, self._head_size), np.float32)
        loud[..., 0] = _LOUD
        key = ops.multiply(first, loud)
        query = ops.add(ops.multiply(first, np.float32(0)), loud)
        keys = cache.extended(self._layer, "key", key, 1, self._head_size)
        values = cache.extended(self._layer, "value", self._in_bits(first), 1, self._head_size)
        heard = ops.scaled_dot_product_attention(query, keys, values, mask, np.float32(1), False)
        self._numbers = self._from_bits(ops.squeeze(heard, np.array([1], np.int64)))
        self._rows = rows

    def _in_bits(self, first: Value) -> Node:
        """[batch, 1, tokens, head size]: the first token's number, lowest bit first; 0 of the others."""
        weights = np.ones((1, 1, 1, self._head_size), np.float32)
        weights[..., :_BITS] = 2.0 ** np.arange(_BITS)
        used = np.zeros((1, 1, 1, self._head_size), np.float32)
        used[..., :_BITS] = 1
        number = ops.unsqueeze(ops.convert(self._number, "f32"), np.array([1, 3], np.int64))
        shifted = ops.floor(ops.divide(number, weights))
        halves = ops.multiply(ops.floor(ops.multiply(shifted, np.float32(0.5))), np.float32(2))
        return ops.multiply(ops.multiply(ops.subtract(shifted, halves), used), first)

    def _from_bits(self, heard: Value) -> Node:
        """i32 [batch, tokens] of [batch, tokens, head size]."""
        weights = np.zeros((1, 1, self._head_size), np.int32)
        weights[..., :_BITS] = 1 << np.arange(_BITS)
        bits = ops.convert(ops.greater(heard, np.float32(0.5)), "i32")
        return ops.reduce_sum(ops.multiply(bits, weights), np.array([2], np.int64), False)

    def adapted(self, y: Value, x: Value, outputs: Mapping[str, int], inputs: int) -> Node:
        """y [batch, tokens, sum of outputs] = W x with what the adapters add to it; `outputs` by module."""
        place = len(self.targets)
        self.targets.append(Target(tuple(outputs), tuple(outputs.values()), inputs))
        inner = ops.matmul(x, _placeholder("a", place, (1, inputs)), False, True)
        outer = _placeholder("b", place, (sum(outputs.values()), 1))
        masked = ops.multiply(inner, self._mask(len(outputs)))
        return ops.add(y, ops.matmul(masked, outer, False, True))

    def _mask(self, parts: int) -> Node:
        """[batch, tokens, rows of A] for targets of so many modules."""
        assert self._rows is not None
        assert self._numbers is not None
        if parts not in self._masks:
            table = _placeholder("mask", parts, (1, 1))
            self._masks[parts] = self._rows.filled(ops.gather(table, self._numbers, np.int32(0)))
        return self._masks[parts]

    def document(self) -> dict[str, object]:
        """What the runtime has to know of the graph."""
        return {"vocabulary": self._vocabulary, "targets": [asdict(target) for target in self.targets]}


def _placeholder(kind: str, place: int, shape: tuple[int, int]) -> Node:
    node = ops.constant(np.zeros(shape, np.float32))
    node.set_friendly_name(constant_name(kind, place))
    return node
