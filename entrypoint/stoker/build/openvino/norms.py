"""Root mean square normalisation, in the form that OpenVINO fuses into one operation."""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import opset13 as ops


def rms_norm(x: Any, weight: Any, eps: float) -> Any:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis."""
    mean = ops.reduce_mean(ops.power(x, np.float32(2)), np.array([-1], np.int64), keep_dims=True)
    root = ops.sqrt(ops.add(mean, np.float32(eps)))
    return ops.multiply(ops.multiply(x, ops.divide(np.float32(1), root)), weight)
