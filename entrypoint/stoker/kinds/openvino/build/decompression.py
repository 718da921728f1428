"""The subgraph of a compressed constant, in the form that OpenVINO's plugins recognise and keep compressed:

(codes -> f16 [- zero points -> f16]) x scales f16 [-> reshape] -> f32; or all in f32, where f16 scales would not do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as ops


@dataclass(frozen=True)
class Compressed:
    """Buffers of one compressed matrix, allocated by OpenVINO so that its constants own them without a copy.

    `groups` is the number of scales along the input width; 1 is per output channel. 4-bit codes lie two in a byte,
    the even element in the low half. Symmetric codes have no zero points.
    """

    shape: tuple[int, ...]
    groups: int
    codes: ov.Tensor
    zero_points: ov.Tensor | None
    scales: ov.Tensor


def allocate(
    shape: Sequence[int],
    groups: int,
    code_type: ov.Type,
    scale_type: ov.Type = ov.Type.f16,
    *,
    symmetric: bool = False,
) -> Compressed:
    """`shape` is [..., out, in]; with groups > 1 the codes are [..., out, groups, in / groups]."""
    *rows, width = shape
    inner = [groups, width // groups] if groups > 1 else [width]
    per_group = [groups, 1] if groups > 1 else [1]
    return Compressed(
        tuple(shape),
        groups,
        ov.Tensor(code_type, ov.Shape([*rows, *inner])),
        None if symmetric else ov.Tensor(code_type, ov.Shape([*rows, *per_group])),
        ov.Tensor(scale_type, ov.Shape([*rows, *per_group])),
    )


def data_of(tensor: ov.Tensor) -> npt.NDArray[Any]:
    """The tensor's memory, flat; 4-bit elements two in a byte."""
    return tensor.data.reshape(-1)


def decompressed(name: str, matrix: Compressed) -> ov.Output:
    """An f32 output of `matrix.shape`."""
    kind = matrix.scales.get_element_type()
    value = ops.convert(_constant(matrix.codes, name), kind)
    if matrix.zero_points is not None:
        zero_points = ops.convert(_constant(matrix.zero_points, f"{name}/zero_point"), kind)
        value = ops.subtract(value, zero_points, name=f"{name}/zero_point/subtract")
    value = ops.multiply(value, _constant(matrix.scales, f"{name}/scale"), name=f"{name}/fq_weights_1")
    if matrix.groups > 1:
        value = ops.reshape(value, ops.constant(np.array(matrix.shape, np.int64)), special_zero=False)
    return value.output(0) if kind == ov.Type.f32 else ops.convert(value, "f32").output(0)


def _constant(tensor: ov.Tensor, name: str) -> ov.Node:
    constant = ov.op.Constant(tensor, shared_memory=True)
    constant.set_friendly_name(name)
    return constant
