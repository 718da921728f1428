"""Rotary embeddings (RoFormer, arXiv 2104.09864) that rotate the halves of a head, in the form OpenVINO fuses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from openvino import Node
from openvino import opset13 as ops

from stoker.kinds.openvino.build.encoding import Value
from stoker.kinds.openvino.build.families.spec import Rope

LAST = 2**31 - 1
"""The end of an axis, in the one form that OpenVINO's fusion knows."""


@dataclass(frozen=True)
class Rotation:
    """Cosines and sines of a step's tokens, each [batch, 1, tokens, size]."""

    cosine: Node
    sine: Node
    size: int


def rotation(rope: Rope, position_ids: Value) -> Rotation:
    """From positions [batch, tokens]."""
    size = 2 * len(rope.frequencies)
    frequencies = np.array(rope.frequencies, np.float64).astype(np.float32).reshape(1, -1, 1)
    positions = ops.convert(ops.unsqueeze(position_ids, np.int64(1)), "f32")
    angles = ops.transpose(ops.matmul(frequencies, positions, False, False), np.array([0, 2, 1], np.int64))
    both = ops.unsqueeze(ops.concat([angles, angles], 2), np.int64(1))
    return Rotation(_amplified(ops.cos(both), rope), _amplified(ops.sin(both), rope), size)


def _amplified(x: Node, rope: Rope) -> Node:
    return x if rope.amplitude == 1.0 else ops.multiply(x, np.float32(rope.amplitude))


def rotate(x: Value, turn: Rotation, head_size: int) -> Node:
    """x is [batch, heads, tokens, head_size]; elements past `turn.size` pass through."""
    if turn.size == head_size:
        return _rotate_all(x, turn)
    rotated = _rotate_all(_slice(x, 0, turn.size), turn)
    return ops.concat([rotated, _slice(x, turn.size, LAST)], -1)


def _rotate_all(x: Value, turn: Rotation) -> Node:
    half = turn.size // 2
    first, second = _slice(x, 0, half), _slice(x, half, LAST)
    turned = ops.concat([ops.multiply(second, np.float32(-1)), first], -1)
    return ops.add(ops.multiply(x, turn.cosine), ops.multiply(turned, turn.sine))


def _slice(x: Value, begin: int, end: int) -> Node:
    start, stop, step, axes = (np.array([value], np.int64) for value in (begin, end, 1, 3))
    return ops.slice(x, start, stop, step, axes)
