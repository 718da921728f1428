"""Prompts that are read in pieces beside other sequences give the tokens that they give alone."""

from __future__ import annotations

import random

import pytest
from tests.running import tokens_of

from stoker.kinds.openvino.runtime import paged
from stoker.kinds.openvino.runtime.paged import PagedRuntime
from stoker.launch.generation import Generation
from stoker.launch.stub import step_times

BLOCK = 32
LENGTHS = (96, 97, 130, 5)  # whole blocks, one token more, the most common case, less than a block
NEW = 12


@pytest.fixture
def a_block_at_a_time(monkeypatch):
    monkeypatch.setattr(step_times, "tokens_to_read", lambda _usual, _per_token, least, _most: least)


@pytest.fixture
def begun(monkeypatch) -> list[int]:
    """The tokens of each prompt that GenAI is given."""
    lengths: list[int] = []
    original = paged.sampling_of

    def noted(generation):
        lengths.append(len(generation.input_ids))
        return original(generation)

    monkeypatch.setattr(paged, "sampling_of", noted)
    return lengths


def answers(runtime: PagedRuntime, prompts) -> list[list[int]]:
    return tokens_of(runtime, [Generation(str(number), prompt, NEW) for number, prompt in enumerate(prompts)])


def test_pieces_give_the_same_tokens(settings_of, tiny_engine, a_block_at_a_time, begun):
    chance = random.Random(5)
    prompts = [[chance.randrange(200) for _ in range(length)] for length in LENGTHS]
    runtime = PagedRuntime(settings_of(tiny_engine))
    expected = [answers(runtime, [prompt])[0] for prompt in prompts]
    runtime.close()
    assert begun == list(LENGTHS)  # alone they are read whole
    begun.clear()

    runtime = PagedRuntime(settings_of(tiny_engine))
    other = runtime.add(Generation("other", [3, 1, 4], 200))
    while not other.read().ids:
        runtime.step()
    assert answers(runtime, prompts) == expected
    assert begun == [3, 32, 64, 96, 32, 64, 96, 97, 32, 64, 96, 128, 130, 5]
    assert answers(runtime, prompts) == expected
    assert begun[14:] == list(LENGTHS)  # the prefix cache has all but the ends
    other.cancel()
    runtime.close()
