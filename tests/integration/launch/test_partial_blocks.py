"""Sequences that find the same half-filled block in the prefix cache: each must get what it gets alone."""

from __future__ import annotations

import random

import pytest
from tests.running import tokens_of

from stoker.kinds.openvino.runtime.paged import PagedRuntime
from stoker.launch.generation import Generation

BEGINNING = (5, 17, 99)


@pytest.fixture
def open_runtime(settings_of, tiny_engine):
    runtimes = []

    def begin() -> PagedRuntime:
        runtimes.append(PagedRuntime(settings_of(tiny_engine)))
        return runtimes[-1]

    yield begin
    for runtime in runtimes:
        runtime.close()


def answers(runtime: PagedRuntime, prompts, tokens: int = 24) -> list[list[int]]:
    """To all of them at once."""
    return tokens_of(runtime, [Generation(f"{number}", prompt, tokens) for number, prompt in enumerate(prompts)])


def leave(runtime: PagedRuntime, prompt, after: int) -> list[int]:
    """A sequence that is cancelled after so many tokens; what it gave."""
    sequence = runtime.add(Generation("left", prompt, 40))
    ids: list[int] = []
    while len(ids) < after:
        runtime.step()
        ids += sequence.read().ids
    sequence.cancel()
    runtime.step()
    return ids


def prompts_after(beginning, count: int = 6) -> list[tuple[int, ...]]:
    chance = random.Random(3)
    return [(*beginning, *(chance.randrange(200) for _ in range(4))) for _ in range(count)]


def test_prompts_that_go_on_from_one_that_has_ended(open_runtime):
    reference, runtime = open_runtime(), open_runtime()
    prompts = prompts_after(BEGINNING)
    expected = [answers(reference, [prompt])[0] for prompt in prompts]
    answers(runtime, [BEGINNING], 1)
    assert answers(runtime, prompts) == expected


def test_prompts_that_go_on_from_one_that_was_cancelled(open_runtime):
    reference, runtime = open_runtime(), open_runtime()
    for after in range(1, 9):
        given = leave(runtime, (*BEGINNING, after), after)
        prompts = [each for each in prompts_after((*BEGINNING, after, *given)) for _ in range(2)]
        assert answers(runtime, prompts) == [answers(reference, [prompt])[0] for prompt in prompts]


def test_one_that_waits_for_its_turn_can_be_cancelled(open_runtime):
    runtime = open_runtime()
    answers(runtime, [BEGINNING], 1)
    first, second, third = (
        runtime.add(Generation(f"{n}", prompt, 8)) for n, prompt in enumerate(prompts_after(BEGINNING, 3))
    )
    second.cancel()
    counted = {first: 0, third: 0}
    while min(counted.values()) < 8:
        runtime.step()
        for sequence in counted:
            counted[sequence] += len(sequence.read().ids)
    assert second.read().ended
