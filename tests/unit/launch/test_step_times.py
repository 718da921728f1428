"""How many tokens of prompts a step may read, by how long steps have taken."""

from __future__ import annotations

import pytest

from stoker.launch.stub.step_times import LONGEST_GAP, StepTimes, tokens_to_read


@pytest.mark.parametrize(
    ("usual", "per_token", "expected"),
    [
        (0.05, 0.0, 512),  # nothing was measured yet
        (0.05, 0.0001, 512),
        (0.05, 0.001, 448),  # 450 tokens fit into what is left of the longest gap
        (0.05, 0.0016, 256),
        (0.05, 0.1, 32),  # a block at least, or prompts would never be read
        (1.0, 0.01, 96),  # a step that takes long anyway may take twice as long
        (0.3, 0.001, 288),
    ],
)
def test_tokens_of_a_step(usual, per_token, expected):
    assert tokens_to_read(usual, per_token, least=32, most=512) == expected


def test_never_more_than_there_is_room_for():
    assert tokens_to_read(0.01, 0.0001, least=32, most=100) == 100
    assert tokens_to_read(0.01, 1.0, least=32, most=20) == 20


def test_the_slower_the_machine_gets_the_smaller_the_pieces():
    times = StepTimes(least=32)
    sizes = []
    for slower in (1, 4, 16):
        for _ in range(20):
            times.note(0.02 * slower, read=0, decoding=8)
            times.note(0.02 * slower + 64 * 0.001 * slower, read=64, decoding=8)
        assert times.per_token == pytest.approx(0.001 * slower)
        sizes.append(times.to_read(512))
    assert sizes[0] > sizes[1] >= sizes[2] == 32


def test_one_step_that_compiles_a_kernel_changes_nothing():
    times = StepTimes(least=32)
    for seconds in (0.02, 0.02, 5.0, 0.02):
        times.note(seconds, read=0, decoding=8)
    for seconds in (0.084, 9.0, 0.084):
        times.note(seconds, read=64, decoding=8)
    assert (times.usual, times.per_token) == pytest.approx((0.02, 0.001))


def test_steps_without_other_sequences_tell_what_a_token_takes():
    times = StepTimes(least=32)
    times.note(0.128, read=128, decoding=0)
    times.note(0.0, read=0, decoding=0)  # nothing ran
    assert (times.usual, times.per_token) == (0.0, pytest.approx(0.001))
    assert times.to_read(512) == int(LONGEST_GAP / 0.001) // 32 * 32


def test_a_few_tokens_say_nothing_about_one():
    times = StepTimes(least=32)
    times.note(0.5, read=3, decoding=1)
    assert times.per_token == 0.0
