"""Mixtures of gated feed-forward blocks.

Each token's rows are brought into the order of their experts, so that OpenVINO's GroupedMatMul multiplies every row
with its own expert's matrix only; nothing is computed or read for an expert that no token chose. The order comes from
counting, not from sorting: a row's place is the number of rows of smaller experts plus its rank within its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from openvino import Node, Output, opset17
from openvino import opset13 as ops

from stoker.kinds.openvino.build.encoding import Value
from stoker.kinds.openvino.build.families.spec import Experts
from stoker.kinds.openvino.build.weights import Weights

LAST, FIRST, SECOND = (np.array([axis], np.int64) for axis in (-1, 0, 1))


@dataclass(frozen=True)
class Order:
    """`source`: for each row in the experts' order, the token it comes from. `place`: for each token's choices in
    turn, its row in that order. `ends`: for each expert, where its rows end."""

    source: Node
    place: Node
    ends: Node


def mixture(x: Value, spec: Experts, weights: Weights, layer: str, hidden_size: int) -> Node:
    """The chosen experts' outputs, weighted by the router. x is [batch, tokens, hidden]."""
    name = f"{layer}.{spec.block}"
    flat = ops.reshape(x, np.array([-1, hidden_size], np.int64), False)
    chosen, shares = routed(flat, spec, weights, name, hidden_size)
    order = ordered(ops.reshape(chosen, LAST, False), spec)
    rows = experts(ops.gather(flat, order.source, np.int64(0)), order.ends, spec, weights, name, hidden_size)
    by_token = ops.gather(rows, order.place, np.int64(0))
    by_token = ops.reshape(by_token, np.array([-1, spec.active, hidden_size], np.int64), False)
    mixed = ops.reduce_sum(ops.multiply(by_token, ops.unsqueeze(shares, LAST)), SECOND, keep_dims=False)
    return ops.reshape(mixed, ops.shape_of(x), False)


def routed(flat: Value, spec: Experts, weights: Weights, name: str, hidden_size: int) -> tuple[Output, Value]:
    """Each token's experts and their shares, both [tokens, active]. The router is never quantised: it is small, and a
    wrong choice costs more than a wrong weight."""
    gate = weights.uncompressed(f"{name}.gate.weight", (spec.count, hidden_size))
    chances = ops.softmax(ops.matmul(flat, gate, False, True), -1)
    best = ops.topk(chances, np.int64(spec.active), -1, "max", "value", index_element_type="i64")
    shares: Value
    shares, chosen = best.outputs()
    if spec.normalised:
        shares = ops.divide(shares, ops.reduce_sum(shares, LAST, keep_dims=True))
    return chosen, shares


def ordered(chosen: Value, spec: Experts) -> Order:
    """From the choices of all tokens in turn, [tokens * active]."""
    member = ops.one_hot(chosen, np.int64(spec.count), np.int32(1), np.int32(0), -1)
    rank = ops.reduce_sum(ops.multiply(ops.cum_sum(member, np.int64(0)), member), SECOND, keep_dims=False)
    sizes = ops.reduce_sum(member, FIRST, keep_dims=False)
    ends = ops.cum_sum(sizes, np.int64(0))
    begin = ops.gather(ops.subtract(ends, sizes), chosen, np.int64(0))
    place = ops.convert(ops.subtract(ops.add(begin, rank), np.int32(1)), "i64")
    return Order(_source(place, spec.active), place, ends)


def _source(place: Value, active: int) -> Node:
    """The inverse of `place`, in tokens."""
    size = ops.shape_of(place)
    count = ops.range(np.int64(0), ops.squeeze(size, FIRST), np.int64(1), "i64")
    inverse = ops.scatter_elements_update(ops.broadcast(np.int64(0), size), place, count, np.int64(0))
    return ops.divide(inverse, np.int64(active))


def experts(rows: Value, ends: Value, spec: Experts, weights: Weights, name: str, hidden_size: int) -> Node:
    """Every row through its expert. Gate and up are one matrix, so that rows are read once."""
    blocks = [f"{name}.experts.{index}" for index in range(spec.count)]
    wide = weights.experts(blocks, (spec.gate, spec.up), (spec.size, hidden_size))
    both = opset17.grouped_matmul(rows, wide, ends)
    gate, up = ops.variadic_split(both, np.int64(1), np.array([spec.size] * 2, np.int64)).outputs()
    narrow = weights.experts(blocks, (spec.down,), (hidden_size, spec.size))
    return opset17.grouped_matmul(ops.multiply(ops.swish(gate), up), narrow, ends)
