"""Weights in 4 bits: signed codes with a scale for each group of the input width.

Symmetric codes, because a zero point costs the kernels at one stream 6 % (0.5B shape, two cores with AVX512-VNNI); what
it would gain in accuracy, int4_awq and int4_gptq gain too. Embeddings, the output matrix and the routers of mixtures of
experts stay in 8 bits: they are small or gathered from, and the answers depend on them most. int4_full has the output
matrix in 4 bits too, which every step reads whole: a quarter of what a step of a 0.5B reads in int4.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import openvino as ov

from stoker.kinds.openvino.build.blocks import Floats
from stoker.kinds.openvino.build.decompression import allocate, data_of, decompressed
from stoker.kinds.openvino.build.encoding import Checkpoint
from stoker.kinds.openvino.build.int8 import ROUNDER, SMALLEST_F16, Int8, quantize_blocks, value_range

GROUP_SIZES = (128, 64, 32)
ROUTERS = ("mlp.gate", "block_sparse_moe.gate")
HEAD = "lm_head"
# Shares of a group's largest magnitude that the codes span: cutting off outliers can lower the squared error.
RANGE_SHARES = (1.0, 0.9, 0.8)
LOWEST, HIGHEST = np.float32(-8), np.float32(7)


def group_size_for(width: int, wanted: int = 0) -> int:
    """The wanted group size, or the largest smaller one, that divides `width`; `width` itself if none does."""
    sizes = [size for size in (wanted, *GROUP_SIZES) if 0 < size <= (wanted or GROUP_SIZES[0])]
    return next((size for size in sizes if width % size == 0), width)


def extremes(groups: Floats) -> Floats:
    """Of each row the element of the largest magnitude, with its sign."""
    low, high = value_range(groups)
    return np.where(-low > high, low, high)


def grid(extreme: Floats, share: float) -> Floats:
    """The scale, an f16 value other than 0, that puts a share of the extreme on the lowest code, -8.

    Its sign is against the extreme's: there is a code -8 but none of 8.
    """
    scale = (extreme * np.float32(-share / 8)).astype(np.float16).astype(np.float32)
    return np.where(np.abs(scale) < SMALLEST_F16, SMALLEST_F16, scale)


def squared_error(groups: Floats, scale: Floats, rounded: Floats, scaled: Floats) -> Floats:
    """Of rounding each group to that grid. `rounded` and `scaled` are scratch of the groups' shape."""
    np.multiply(groups, (1 / scale)[:, None], out=scaled)
    np.rint(scaled, out=rounded)
    np.clip(rounded, LOWEST, HIGHEST, out=rounded)
    rounded -= scaled
    error: Floats = np.einsum("gk,gk->g", rounded, rounded)
    return error * scale * scale


def best_grid(groups: Floats) -> Floats:
    """The scale of each row of `groups`: of RANGE_SHARES the one with the smallest squared error."""
    extreme = extremes(groups)
    scale = grid(extreme, RANGE_SHARES[0])
    rounded, scaled = np.empty_like(groups), np.empty_like(groups)
    error = squared_error(groups, scale, rounded, scaled)
    for share in RANGE_SHARES[1:]:
        candidate = grid(extreme, share)
        candidate_error = squared_error(groups, candidate, rounded, scaled)
        better = candidate_error < error
        error = np.where(better, candidate_error, error)
        scale = np.where(better, candidate, scale)
    return scale


def pack(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Two 4-bit codes in a byte, the even one in the low half; an odd count ends with a half-filled byte."""
    flat = np.ascontiguousarray(codes).reshape(-1)
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    pairs = flat.view(np.uint16)
    return (pairs | pairs >> 4).astype(np.uint8)


def quantize_groups(groups: Floats) -> tuple[npt.NDArray[np.uint8], Floats]:
    """Codes as nibbles in two's complement, and scales; weight = code x scale. Overwrites `groups`."""
    scale = best_grid(groups)
    groups *= (1 / scale)[:, None]
    np.clip(groups, LOWEST, HIGHEST, out=groups)
    groups += ROUNDER
    return groups.view(np.uint8)[:, ::4] & np.uint8(0xF), scale


class Int4:
    """`Encoding`. `group_size` 0 leaves it to the width; `groups` counts the matrices built with each size."""

    head_apart: ClassVar[bool] = False
    kept: ClassVar[tuple[str, ...]] = (HEAD, *ROUTERS)  # in int8

    def __init__(self, threads: int, group_size: int = 0) -> None:
        self.threads = threads
        self.group_size = group_size
        self.groups: dict[int, int] = {}
        self.int8 = Int8(threads)

    def linear(self, checkpoint: Checkpoint, prefix: str) -> ov.Output:
        if prefix.endswith(self.kept):
            return self.int8.linear(checkpoint, prefix)
        tensor = checkpoint.tensor(f"{prefix}.weight")
        return self._compressed(tensor.name, tensor.data.reshape(tensor.shape), tensor.dtype)

    def embedding(self, checkpoint: Checkpoint, name: str) -> ov.Output:
        return self.int8.embedding(checkpoint, name)

    def matrix(self, name: str, array: npt.NDArray[np.float32]) -> ov.Output:
        return self._compressed(name, array, "F32")

    def _compressed(self, name: str, array: npt.NDArray[np.generic], dtype: str) -> ov.Output:
        rows = array.reshape(-1, array.shape[-1])
        size = group_size_for(rows.shape[1], self.group_size)
        if size % 2:
            # Rows of an odd number of codes would not start at a byte.
            return self.int8.compressed(name, array, dtype)
        self.groups[size] = self.groups.get(size, 0) + 1
        groups = rows.shape[1] // size
        compressed = allocate(array.shape, groups, ov.Type.i4, symmetric=True)
        codes = data_of(compressed.codes).reshape(len(rows), -1)
        scales = data_of(compressed.scales).reshape(len(rows), groups)

        def work(first: int, block: Floats) -> None:
            part = slice(first, first + len(block))
            found, scale = quantize_groups(block.reshape(-1, size))
            codes[part] = pack(found).reshape(len(block), -1)
            scales[part] = scale.reshape(len(block), groups)

        quantize_blocks(name, rows, dtype, work, self.threads)
        return decompressed(name, compressed)


class Int4Full(Int4):
    """`Encoding` with the output matrix in 4 bits too; tied embeddings are stored twice, since a gather wants 8."""

    head_apart = True
    kept = ROUTERS
