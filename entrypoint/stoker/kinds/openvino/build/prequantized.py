"""Checkpoints that are already AWQ or GPTQ in 4 bits: the same integers and scales, laid out as OpenVINO's u4.

Layouts, both eight 4-bit values in an int32, lowest bits first:
AWQ (AutoAWQ's "gemm"): `qweight` [in, out / 8] and `qzeros` [groups, out / 8] over the outputs, in the order
0 2 4 6 1 3 5 7. GPTQ: `qweight` [in / 8, out] over the inputs, `qzeros` [groups, out / 8] over the outputs, both in
order; the format "gptq" stores each zero point less one, "gptq_v2" as it is. `scales` is [groups, out] in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import openvino as ov

from stoker.errors import DamagedModelError, UnsupportedModelError
from stoker.kinds.openvino.build.blocks import forget
from stoker.kinds.openvino.build.decompression import Compressed, allocate, data_of, decompressed
from stoker.kinds.openvino.build.encoding import Checkpoint, Tensor
from stoker.kinds.openvino.build.int4 import pack
from stoker.kinds.openvino.build.int8 import Int8
from stoker.kinds.openvino.build.plain import NATIVE, PlainEncoding
from stoker.resolve.model import Quantization

Bytes = npt.NDArray[np.uint8]

IN_ORDER = (0, 1, 2, 3, 4, 5, 6, 7)
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
COLUMNS = 64


@dataclass(frozen=True)
class Packing:
    """How a checkpoint packs its 4-bit values. `zero_offset` is added to each stored zero point."""

    method: str
    group_size: int
    zero_offset: int = 0


def packing_of(quantization: Quantization) -> Packing:
    """Raises UnsupportedModelError for a method, or a setting of it, that cannot be repacked exactly."""
    if quantization.method not in ("awq", "gptq"):
        raise UnsupportedModelError(
            f"the checkpoint is quantised with {quantization.method}, which the openvino engine cannot read",
            why="only awq and gptq in 4 bits are repacked; anything else would have to be quantised again",
            remedy="use the model's unquantised checkpoint",
        )
    _require(quantization, "bits", quantization.bits, (4,))
    settings = quantization.settings
    group_size = _group_size(settings)
    if quantization.method == "awq":
        _require(quantization, "version", str(settings.get("version", "gemm")).lower(), ("gemm",))
        _require(quantization, "zero_point", settings.get("zero_point", True), (True,))
        return Packing("awq", group_size)
    form = str(settings.get("checkpoint_format") or "gptq")
    _require(quantization, "checkpoint_format", form, ("gptq", "gptq_v2"))
    _require(quantization, "is_marlin_format", bool(settings.get("is_marlin_format")), (False,))
    _require(quantization, "dynamic", settings.get("dynamic") or None, (None,))
    return Packing("gptq", group_size, 0 if form == "gptq_v2" else 1)


def _group_size(settings: Mapping[str, object]) -> int:
    """-1 is one group for the whole input."""
    value = settings.get("group_size", settings.get("q_group_size", 128))
    if type(value) is not int or value < -1 or value == 0:
        raise DamagedModelError("config.json: quantization_config.group_size is not a group size", why=repr(value))
    return value


def _require(quantization: Quantization, key: str, value: object, accepted: tuple[object, ...]) -> None:
    if value not in accepted:
        raise UnsupportedModelError(
            f"config.json: quantization_config.{key} = {value!r} is not supported for {quantization.method}",
            why=f"accepted: {', '.join(map(repr, accepted))}",
            remedy="use the model's unquantised checkpoint",
        )


def nibbles(packed: npt.NDArray[np.int32], order: tuple[int, ...]) -> Bytes:
    """[rows, n] int32 to [8 n, rows]: the eight values of each int32 along the first axis, in natural order."""
    columns = np.ascontiguousarray(packed.T).view(np.uint32)
    values = np.empty((columns.shape[0] * 8, columns.shape[1]), np.uint8)
    for position, index in enumerate(order):
        values[index::8] = (columns >> np.uint32(4 * position)) & np.uint32(15)
    return values


class Prequantized:
    """`Encoding`. Matrices that the checkpoint left alone keep their dtype, embeddings and output matrix get 8 bits."""

    head_apart: ClassVar[bool] = False

    def __init__(self, threads: int, packing: Packing) -> None:
        self.packing = packing
        self.repacked = 0
        self._int8 = Int8(threads)
        self._plain: dict[str, PlainEncoding] = {}

    def linear(self, checkpoint: Checkpoint, prefix: str) -> ov.Output:
        if f"{prefix}.qweight" in checkpoint:
            self.repacked += 1
            return decompressed(prefix, self._repack(checkpoint, prefix))
        if prefix.endswith("lm_head"):
            return self._int8.linear(checkpoint, prefix)
        dtype = checkpoint.tensor(f"{prefix}.weight").dtype
        precision = next((name for name, native in NATIVE.items() if native == dtype), "f32")
        return self._plain.setdefault(precision, PlainEncoding(precision)).linear(checkpoint, prefix)

    def embedding(self, checkpoint: Checkpoint, name: str) -> ov.Output:
        return self._int8.embedding(checkpoint, name)

    def matrix(self, name: str, array: npt.NDArray[np.float32]) -> ov.Output:  # noqa: ARG002
        raise UnsupportedModelError(
            f"{name}: {self.packing.method} checkpoints of mixtures of experts are not supported",
            remedy="use the model's unquantised checkpoint",
        )

    def _repack(self, checkpoint: Checkpoint, prefix: str) -> Compressed:
        qweight = checkpoint.tensor(f"{prefix}.qweight")
        outputs, inputs = shape_of(self.packing, prefix, qweight)
        size = self._group_size(prefix, inputs)
        groups = inputs // size
        scales = _checked(checkpoint.tensor(f"{prefix}.scales"), (groups, outputs))
        qzeros = _checked(checkpoint.tensor(f"{prefix}.qzeros"), (groups, outputs // 8), "I32")
        if f"{prefix}.g_idx" in checkpoint:
            _refuse_act_order(checkpoint.tensor(f"{prefix}.g_idx"), prefix, size)
        exact = scales.dtype == "F16" or _fits_f16(scales.as_f32())
        result = allocate((outputs, inputs), groups, ov.Type.u4, ov.Type.f16 if exact else ov.Type.f32)
        assert result.zero_points is not None
        data_of(result.scales)[:] = scales.as_f32().T.reshape(-1)
        data_of(result.zero_points)[:] = pack(self._zero_points(prefix, qzeros))
        self._write_codes(qweight, data_of(result.codes).reshape(outputs, inputs // 2))
        forget(qweight.data)
        return result

    def _group_size(self, prefix: str, inputs: int) -> int:
        size = inputs if self.packing.group_size < 0 else self.packing.group_size
        if size % 2 or inputs % size:
            raise UnsupportedModelError(
                f"{prefix}: {inputs} inputs do not divide into groups of {size}",
                why="OpenVINO needs groups of equal, even size",
            )
        return size

    def _zero_points(self, prefix: str, qzeros: Tensor) -> Bytes:
        """[out, groups]."""
        stored = nibbles(qzeros.data, AWQ_ORDER if self.packing.method == "awq" else IN_ORDER)
        zero_points = stored + np.uint8(self.packing.zero_offset)
        if zero_points.max(initial=0) > 15:
            raise UnsupportedModelError(
                f"{prefix}.qzeros: a zero point of 16 does not fit into 4 bits",
                why='readers of the format "gptq" disagree whether it means 16 or 0',
                remedy='use a checkpoint with checkpoint_format "gptq_v2", or the unquantised one',
            )
        return zero_points

    def _write_codes(self, qweight: Tensor, out: Bytes) -> None:
        """`out` is [out, in / 2], the even input in the low half of each byte."""
        for first in range(0, qweight.data.shape[1], COLUMNS):
            block = qweight.data[:, first : first + COLUMNS]
            if self.packing.method == "awq":
                codes = nibbles(block, AWQ_ORDER)
                out[first * 8 : first * 8 + len(codes)] = pack(codes).reshape(len(codes), -1)
            else:
                # Eight inputs in order, lowest bits first: on a little-endian machine these are the bytes wanted.
                out[first : first + block.shape[1]] = np.ascontiguousarray(block.T).view(np.uint8)


def shape_of(packing: Packing, prefix: str, qweight: Tensor) -> tuple[int, int]:
    """(out, in). Raises DamagedModelError for what cannot be a packed matrix."""
    if qweight.dtype != "I32" or len(qweight.shape) != 2:
        raise DamagedModelError(f"{prefix}.qweight is {qweight.dtype} {list(qweight.shape)}, not a matrix of int32")
    rows, columns = qweight.shape
    outputs, inputs = (columns * 8, rows) if packing.method == "awq" else (columns, rows * 8)
    if outputs % 8 or inputs % 2:
        raise DamagedModelError(f"{prefix}.qweight has the wrong shape", why=f"{outputs} outputs, {inputs} inputs")
    return outputs, inputs


def _checked(tensor: Tensor, shape: tuple[int, int], dtype: str = "") -> Tensor:
    if tensor.shape != shape or (dtype and tensor.dtype != dtype):
        raise DamagedModelError(
            f"tensor {tensor.name} is {tensor.dtype} {list(tensor.shape)}", why=f"expected {dtype} {list(shape)}"
        )
    return tensor


def _fits_f16(values: npt.NDArray[np.float32]) -> bool:
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float16).astype(np.float32) == values).all())


def _refuse_act_order(g_idx: Tensor, prefix: str, size: int) -> None:
    if not np.array_equal(g_idx.data.reshape(-1), np.arange(g_idx.data.size) // size):
        raise UnsupportedModelError(
            f"{prefix}.g_idx reorders the inputs (desc_act = true without static groups)",
            why="its groups are scattered over the inputs, which OpenVINO's compressed matrices cannot express",
            remedy="use a checkpoint quantised with desc_act = false, or the unquantised one",
        )
