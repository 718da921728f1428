"""Weights as they are: f32, f16 or bf16 constants, shared with the checkpoint's memory map where nothing changes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as ops

from stoker.errors import UnsupportedModelError
from stoker.kinds.openvino.build.encoding import Checkpoint, Tensor

NATIVE = {"f32": "F32", "f16": "F16", "bf16": "BF16"}
"""The checkpoint's dtype that needs no conversion, for each precision."""

TYPES = {"f32": ov.Type.f32, "f16": ov.Type.f16, "bf16": ov.Type.bf16}

BLOCK = 1 << 20
"""Elements rounded at a time, so that intermediate results stay small."""


class PlainEncoding:
    """Implements `Encoding`. `precision`: "f32", "f16" or "bf16". Must live as long as the graph."""

    head_apart: ClassVar[bool] = False

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self._owned: list[npt.NDArray[np.generic]] = []  # a shared constant does not keep its array alive

    def linear(self, checkpoint: Checkpoint, prefix: str) -> ov.Output:
        return self._weight(checkpoint.tensor(f"{prefix}.weight"))

    def matrix(self, name: str, array: npt.NDArray[np.float32]) -> ov.Output:
        self._owned.append(stored(array, self.precision))
        return widened(constant(self._owned[-1], self.precision, name))

    def embedding(self, checkpoint: Checkpoint, name: str) -> ov.Output:
        return self._weight(checkpoint.tensor(name))

    def _weight(self, tensor: Tensor) -> ov.Output:
        if tensor.dtype not in NATIVE.values():
            raise UnsupportedModelError(
                f"tensor {tensor.name} has dtype {tensor.dtype}", why=f"{self.precision} needs F32, F16 or BF16 weights"
            )
        if tensor.dtype != NATIVE[self.precision]:
            return self.matrix(tensor.name, tensor.as_f32())
        made = owning if tensor.data.flags.owndata else constant  # what is no view of the checkpoint has no other owner
        return widened(made(tensor.data, self.precision, tensor.name))


def stored(array: npt.NDArray[np.float32], precision: str) -> npt.NDArray[np.generic]:
    """f32 rounded to the precision, to nearest even; bf16 as bit patterns. Too large for f16 is its largest number."""
    if precision == "f32":
        return np.ascontiguousarray(array, dtype=np.float32)
    flat = np.ascontiguousarray(array, dtype=np.float32).reshape(-1)
    result = np.empty(flat.size, np.float16 if precision == "f16" else np.uint16)
    for begin in range(0, flat.size, BLOCK):
        part = slice(begin, begin + BLOCK)
        result[part] = _rounded(flat[part], precision)
    return result.reshape(array.shape)


def _rounded(values: npt.NDArray[np.float32], precision: str) -> npt.NDArray[np.generic]:
    if precision == "f16":
        return np.clip(values, -65504.0, 65504.0).astype(np.float16)
    bits = values.view(np.uint32)
    return ((bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16).astype(np.uint16)


def constant(array: npt.NDArray[np.generic], precision: str, name: str) -> ov.Node:
    """A constant that shares the array's memory, without owning it."""
    node = ops.constant(ov.Tensor(array, ov.Shape(array.shape), TYPES[precision]), shared_memory=True)
    node.set_friendly_name(name)
    return node


def owning(array: npt.NDArray[np.generic], precision: str, name: str) -> ov.Node:
    """A constant with a copy of the array of its own."""
    kind = TYPES[precision]
    tensor = ov.Tensor(kind, ov.Shape(array.shape))
    np.copyto(tensor.data.view(array.dtype), array)
    node = ov.op.Constant(tensor, shared_memory=True)
    node.set_friendly_name(name)
    return node


def widened(node: ov.Node) -> ov.Output:
    """The f32 output of a constant."""
    if node.get_element_type() == ov.Type.f32:
        return node.output(0)
    return ops.convert(node, "f32").output(0)
