"""Walks a matrix in blocks of rows that stay in a core's cache, on every core this process may use.

NumPy releases the GIL inside its loops, so plain threads are enough.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Work = Callable[[int, Floats], None]

# 256 KiB in f32: with the second buffer of a scale search still inside the 1 MiB second-level cache of server cores.
BLOCK_ELEMENTS = 1 << 16
BLOCKS_PER_TASK = 16


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def widen(rows: npt.NDArray[np.generic], dtype: str, out: Floats) -> None:
    """Writes `rows` into `out` as f32. BF16 (bit patterns in uint16) is the upper half of an f32."""
    if dtype == "BF16":
        halves = out.view(np.uint16)
        halves[..., 0::2] = 0
        halves[..., 1::2] = rows
    else:
        np.copyto(out, rows, casting="unsafe")


def each_block(matrix: npt.NDArray[np.generic], dtype: str, work: Work, threads: int) -> None:
    """Calls `work(first_row, block)` for every block of the 2-D `matrix`, the block a scratch copy in f32.

    Calls run at once on `threads` threads and may overwrite the block; each row is given exactly once.
    """
    rows, width = matrix.shape
    step = max(1, BLOCK_ELEMENTS // max(1, width))
    span = step * BLOCKS_PER_TASK

    def task(first: int) -> None:
        scratch = np.empty((step, width), np.float32)
        last = min(first + span, rows)
        for start in range(first, last, step):
            block = scratch[: min(step, last - start)]
            widen(matrix[start : start + len(block)], dtype, block)
            work(start, block)

    if threads <= 1 or rows <= step:
        for first in range(0, rows, span):
            task(first)
        return
    # Small matrices still occupy every thread.
    span = min(span, -(-rows // (threads * step)) * step)
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(task, range(0, rows, span)):
            pass


def forget(array: npt.NDArray[np.generic]) -> None:
    """Gives the file-backed pages behind a view of a memory-mapped file back to the system.

    Without it every page read so far counts as this process's memory. Arrays on the heap are left alone.
    """
    owner: object = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    if not isinstance(owner, mmap.mmap) or not array.flags.c_contiguous:
        return
    base = np.frombuffer(owner, np.uint8).__array_interface__["data"][0]
    start = array.__array_interface__["data"][0] - base
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (start + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - first
    if length > 0:
        owner.madvise(mmap.MADV_DONTNEED, first, length)
