"""How long an engine has been silent, on a clock that the tests set."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stoker.launch import life_signs
from stoker.launch.life_signs import LifeSigns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    found = SimpleNamespace(now=1000.0, steps=0, token=0.0)
    monkeypatch.setattr(life_signs.time, "monotonic", lambda: found.now)
    return found


@pytest.fixture
def signs(clock: SimpleNamespace) -> LifeSigns:
    found = LifeSigns(lambda: int(clock.steps), lambda: float(clock.token))
    found.silence()
    return found


def after(seconds: float, clock: SimpleNamespace, signs: LifeSigns) -> float:
    """The silence then, looked for every second."""
    for _ in range(int(seconds)):
        clock.now += 1
        found = signs.silence()
    return found


def test_silence_ends_with_a_step_or_a_token(clock: SimpleNamespace, signs: LifeSigns) -> None:
    assert after(30, clock, signs) == 30
    clock.steps = 1
    assert after(1, clock, signs) == 0
    assert after(5, clock, signs) == 5
    clock.token = clock.now
    assert after(2, clock, signs) == 2


def test_a_time_in_which_this_process_was_stopped_is_no_silence(clock: SimpleNamespace, signs: LifeSigns) -> None:
    assert after(3, clock, signs) == 3
    clock.now += 420
    assert signs.silence() == 13
    assert after(50, clock, signs) == 63  # and what is silent afterwards is


def test_a_token_of_before_the_stop_is_as_old_as_it_was(clock: SimpleNamespace, signs: LifeSigns) -> None:
    clock.token = clock.now
    clock.now += 420
    assert signs.silence() == 10


def test_a_time_in_which_steps_cannot_be_seen_is_no_silence(clock: SimpleNamespace) -> None:
    def steps() -> int:
        if clock.blind:
            raise OSError(24, "Too many open files")
        return int(clock.steps)

    clock.blind = False
    signs = LifeSigns(steps, lambda: float(clock.token))
    signs.silence()
    assert after(30, clock, signs) == 30
    clock.blind = True
    assert after(300, clock, signs) == 0
    clock.blind = False
    assert after(7, clock, signs) == 7
