"""The account of what an engine's KV cache holds, replayed the way a router's index does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.fleet.prefixes import Accounted, PrefixAccount, Removed, Stored
from stoker.launch.generation import Delta, EngineState, Generation

SIZE = 4


class Index:
    """What a router knows by the events: for each hash the ids of its block, and the hash before it."""

    def __init__(self) -> None:
        self.blocks: dict[int, tuple[tuple[int, ...], int | None]] = {}

    def hear(self, change: Stored | Removed) -> None:
        if isinstance(change, Removed):
            for each in change.hashes:
                del self.blocks[each]
            return
        parent = change.parent
        assert parent is None or parent in self.blocks
        assert len(change.ids) == SIZE * len(change.hashes)
        for at, each in enumerate(change.hashes):
            assert each not in self.blocks
            self.blocks[each] = (tuple(change.ids[at * SIZE : (at + 1) * SIZE]), parent)
            parent = each

    def found(self, ids: Sequence[int]) -> int:
        """Full blocks of a prompt that are held."""
        children = {content: each for each, content in self.blocks.items()}
        parent, count = None, 0
        for end in range(SIZE, len(ids) + 1, SIZE):
            here = children.get((tuple(ids[end - SIZE : end]), parent))
            if here is None:
                break
            parent, count = here, count + 1
        return count


def test_a_prompt_that_begins_alike_is_found_up_to_where_it_differs():
    index = Index()
    account = PrefixAccount(100, SIZE, index.hear)
    account.began([*range(10)])
    assert account.hit_rate == 0
    assert index.found([*range(8), 99, 99, 99, 99]) == 2
    account.began([*range(8), 99, 99, 99, 99])
    assert account.hit_rate == pytest.approx(2 / 5)
    assert len(index.blocks) == 3


def test_the_same_block_after_another_one_is_another_block():
    index = Index()
    account = PrefixAccount(100, SIZE, index.hear)
    account.began([1, 1, 1, 1, 2, 2, 2, 2])
    account.began([3, 3, 3, 3, 2, 2, 2, 2])
    assert len(index.blocks) == 4


def test_what_was_used_least_recently_goes_first_and_the_end_of_a_prompt_before_its_beginning():
    index = Index()
    account = PrefixAccount(3, SIZE, index.hear)
    account.began([1] * 8)
    account.began([2] * 8)
    assert (index.found([1] * 8), index.found([2] * 8)) == (1, 2)
    account.began([1] * 4)
    account.began([3] * 4)
    assert (index.found([1] * 4), index.found([2] * 8), index.found([3] * 4)) == (1, 1, 1)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.integers(0, 1), max_size=24), max_size=30), st.integers(1, 6))
def test_every_event_makes_sense_to_who_heard_all_before_it(prompts, blocks):
    index = Index()
    account = PrefixAccount(blocks, SIZE, index.hear)
    for prompt in prompts:
        account.began(prompt)
        assert len(index.blocks) <= blocks
        assert index.found(prompt) == min(len(prompt) // SIZE, blocks)
    account.clear()
    assert index.blocks == {}


class Engine:
    """Gives ids one by one."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = ids

    async def generate(self, generation: Generation):
        for each in self.ids:
            yield Delta((each,))

    async def state(self) -> EngineState:
        return EngineState(0, 0, 0, 0, SIZE)


def test_answers_are_held_as_far_as_they_were_computed_also_one_that_is_left():
    index = Index()
    engine = Accounted(Engine([5, 6, 7, 8, 9]), PrefixAccount(100, SIZE, index.hear))

    async def run(most: int) -> None:
        stream = engine.generate(Generation("one", [1, 2, 3], 5))
        for _ in range(most):
            await anext(stream)
        await stream.aclose()

    asyncio.run(run(1))
    assert index.found([1, 2, 3, 5]) == 0  # the last id has been given, not computed
    asyncio.run(run(5))
    assert index.found([1, 2, 3, 5, 6, 7, 8, 9]) == 1
