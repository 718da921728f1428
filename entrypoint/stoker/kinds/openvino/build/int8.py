"""Weights in 8 bits: unsigned codes with a zero point and a scale for each output channel."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import openvino as ov

from stoker.errors import DamagedModelError, UnsupportedModelError
from stoker.kinds.openvino.build.blocks import Floats, Work, each_block, forget
from stoker.kinds.openvino.build.decompression import allocate, data_of, decompressed
from stoker.kinds.openvino.build.encoding import Checkpoint
from stoker.kinds.openvino.build.plain import NATIVE

# Adding 1.5 x 2^23 to a small f32 rounds it to an integer (ties to even) and leaves that integer in the low bits.
ROUNDER = np.float32(12582912.0)
# A little under 255: with a rounded zero point no code then leaves 0..255, so that nothing needs clipping.
LEVELS = np.float32(254.9)
SMALLEST_F16 = np.float32(2.0**-24)


class NotFiniteError(ValueError):
    """A block holds an infinity or a NaN."""


def f16_at_least(values: Floats) -> Floats:
    """The smallest positive f16 not below each value, as f32."""
    rounded = np.maximum(values, SMALLEST_F16).astype(np.float16)
    below = rounded.astype(np.float32) < values
    rounded[below] = np.nextafter(rounded[below], np.float16(np.inf))
    return rounded.astype(np.float32)


def value_range(block: Floats) -> tuple[Floats, Floats]:
    """Smallest and largest along the last axis, widened to hold 0."""
    low, high = np.minimum(block.min(axis=-1), 0), np.maximum(block.max(axis=-1), 0)
    if not np.isfinite(high - low).all():
        raise NotFiniteError
    return low, high


def quantize_rows(
    block: Floats, codes: npt.NDArray[np.uint8], zero_points: npt.NDArray[np.uint8], scales: npt.NDArray[np.float16]
) -> None:
    """weight = (code - zero point) x scale, one pair a row. Overwrites `block`."""
    low, high = value_range(block)
    scale = f16_at_least((high - low) / LEVELS)
    zero_point = np.rint(-low / scale)
    block *= (1 / scale)[:, None]
    block += (zero_point + ROUNDER)[:, None]
    codes[:] = block.view(np.uint8)[:, ::4]
    zero_points[:] = zero_point
    scales[:] = scale


class Int8:
    """`Encoding`. `threads`: how many blocks are quantised at once."""

    head_apart: ClassVar[bool] = False

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def linear(self, checkpoint: Checkpoint, prefix: str) -> ov.Output:
        return self.embedding(checkpoint, f"{prefix}.weight")

    def embedding(self, checkpoint: Checkpoint, name: str) -> ov.Output:
        tensor = checkpoint.tensor(name)
        return self.compressed(name, tensor.data.reshape(tensor.shape), tensor.dtype)

    def matrix(self, name: str, array: npt.NDArray[np.float32]) -> ov.Output:
        return self.compressed(name, array, "F32")

    def compressed(self, name: str, array: npt.NDArray[np.generic], dtype: str) -> ov.Output:
        """`array` is [..., out, in] of the safetensors type `dtype`."""
        compressed = allocate(array.shape, 1, ov.Type.u8)
        rows = array.reshape(-1, array.shape[-1])
        codes = data_of(compressed.codes).reshape(rows.shape)
        assert compressed.zero_points is not None
        zero_points, scales = data_of(compressed.zero_points), data_of(compressed.scales)

        def work(first: int, block: Floats) -> None:
            part = slice(first, first + len(block))
            quantize_rows(block, codes[part], zero_points[part], scales[part])

        quantize_blocks(name, rows, dtype, work, self.threads)
        return decompressed(name, compressed)


def quantize_blocks(name: str, rows: npt.NDArray[np.generic], dtype: str, work: Work, threads: int) -> None:
    """`each_block`, then the pages read are given back.

    Raises UnsupportedModelError for a type that is no plain float, DamagedModelError for weights that are not finite.
    """
    if dtype not in NATIVE.values():
        raise UnsupportedModelError(f"tensor {name} has dtype {dtype}", why="only F32, F16 and BF16 can be compressed")
    try:
        each_block(rows, dtype, work, threads)
    except NotFiniteError as error:
        raise DamagedModelError(
            f"{name} cannot be compressed",
            why="it holds values that are infinite or not a number",
            remedy="download the model again, or build it with --precision bf16",
        ) from error
    forget(rows)
