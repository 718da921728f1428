"""The memory's read bandwidth, the limit for one stream: every token reads all weights once."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

ELEMENTS = 1 << 26  # 512 MiB of int64 for each thread: far beyond any cache


def read_bandwidth(rounds: int = 7) -> float:
    """Bytes a second with a thread on every core; the best of several rounds, as others share the machine."""
    threads = len(os.sched_getaffinity(0))
    arrays = [np.ones(ELEMENTS, np.int64) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        return max(_once(pool, arrays) for _ in range(rounds))


def _once(pool: ThreadPoolExecutor, arrays: list[np.ndarray]) -> float:
    began = time.perf_counter()
    list(pool.map(np.max, arrays))
    return sum(array.nbytes for array in arrays) / (time.perf_counter() - began)


if __name__ == "__main__":
    print(f"{read_bandwidth() / 1e9:.1f} GB/s")
