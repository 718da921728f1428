"""Normalisation, in the forms that OpenVINO has, or fuses into, one operation."""

from __future__ import annotations

import numpy as np
from openvino import Node
from openvino import opset13 as ops

from stoker.kinds.openvino.build.encoding import Value


def rms_norm(x: Value, weight: Value, eps: float) -> Node:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis."""
    mean = ops.reduce_mean(ops.power(x, np.float32(2)), np.array([-1], np.int64), keep_dims=True)
    root = ops.sqrt(ops.add(mean, np.float32(eps)))
    return ops.multiply(ops.multiply(x, ops.divide(np.float32(1), root)), weight)


def layer_norm(x: Value, weight: Value, bias: Value, eps: float) -> Node:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis."""
    normed = ops.mvn(x, np.array([-1], np.int64), True, eps, "inside_sqrt")
    return ops.add(ops.multiply(normed, weight), bias)
