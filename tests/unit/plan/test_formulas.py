"""Arithmetic of budgets and batches, each with figures that were worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stoker.plan.formulas import bytes_per_rank, with_pool
from stoker.plan.types import KvPool, MemoryBudget
from stoker.resolve.model import Model

POOL = KvPool(bytes_per_token=4, block_tokens=16, blocks=0)
FIXED = MemoryBudget(weights=300, activations=60, runtime=40, kv=POOL, limit=2_000)
"""1,600 bytes are left: 25 blocks of 64 bytes, or 400 tokens."""


@pytest.mark.parametrize(
    ("share", "most", "blocks"),
    [(1.0, None, 25), (0.5, None, 12), (1.0, 100, 7), (1.0, 96, 6), (1.0, 1, 1), (1.0, 10_000, 25), (0.1, 100, 2)],
)
def test_a_cache_gets_its_share_in_whole_blocks_and_no_more_than_it_needs(
    share: float, most: int | None, blocks: int
) -> None:
    assert with_pool(FIXED, share, most).kv.blocks == blocks


def test_a_cache_gets_nothing_where_nothing_is_left() -> None:
    assert with_pool(MemoryBudget(2_000, 60, 40, POOL, 2_000), 1.0).kv.blocks == 0


@pytest.mark.parametrize(
    ("name", "size"),
    [
        # 32 layers: 2 × (4096 + 4096) + 2 × (4096 + 1024) for attention, 3 × (4096 + 14336) for the rest, of 2 bytes.
        ("llama-3.1-8b", 5_242_880),
        ("mixtral-8x7b", 1_703_936),  # the same attention; experts take no adapter
    ],
)
def test_an_adapter_takes_two_thin_matrices_for_each_projection(
    model: Callable[[str], Model], name: str, size: int
) -> None:
    assert bytes_per_rank(model(name).architecture, 2) == size
