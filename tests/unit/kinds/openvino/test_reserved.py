"""Sequences of guessing engines begin when there is room to their ends."""

from __future__ import annotations

import pytest

from stoker.kinds.openvino.runtime.reserved import Reserved
from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.stub.runtime import Output


class Running:
    """Ends when it is told to."""

    def __init__(self) -> None:
        self.over = self.was_cancelled = False

    def read(self) -> Output:
        return Output((), (), ended=self.over)

    def cancel(self) -> None:
        self.was_cancelled = True


class Engine:
    def __init__(self, blocks: int) -> None:
        self.begun: list[Running] = []
        self.refuses = False
        self.reserved = Reserved(self.begin, blocks, 32)

    def begin(self, generation: Generation) -> Running:
        if self.refuses:
            raise RequestRefusedError("the engine refused the request")
        self.begun.append(Running())
        return self.begun[-1]

    def add(self, tokens: int):
        return self.reserved.add(Generation("1", [1] * 10, tokens - 10))


def test_a_sequence_waits_until_another_has_ended():
    engine = Engine(blocks=6)
    first, second, third = engine.add(64), engine.add(64), engine.add(20)  # of 3, 3 and 2 blocks
    assert len(engine.begun) == 2
    engine.reserved.move()
    assert third.running is None
    engine.begun[1].over = True
    assert second.read().ended
    engine.reserved.move()
    assert third.running is engine.begun[2]
    assert not first.read().ended


def test_sequences_begin_in_their_order():
    engine = Engine(blocks=6)
    first = engine.add(64)
    large, small = engine.add(128), engine.add(20)
    assert (large.running, small.running) == (None, None)
    engine.begun[0].over = True
    first.read()
    engine.reserved.move()
    assert large.running is engine.begun[1]
    assert small.running is None


def test_what_takes_more_than_all_runs_alone():
    engine = Engine(blocks=6)
    first, large = engine.add(64), engine.add(1000)
    assert large.running is None
    engine.begun[0].over = True
    first.read()
    engine.reserved.move()
    other = engine.add(20)
    assert large.running is engine.begun[1]
    assert other.running is None


def test_a_cancelled_sequence_leaves_its_room_when_the_engine_has_freed_it():
    engine = Engine(blocks=6)
    first, second = engine.add(128), engine.add(128)
    first.cancel()
    assert engine.begun[0].was_cancelled
    assert first.read().refused
    engine.reserved.move()
    assert second.running is None
    engine.reserved.move()
    assert second.running is engine.begun[1]


def test_a_cancelled_sequence_that_waits_never_begins():
    engine = Engine(blocks=6)
    first, second = engine.add(128), engine.add(128)
    second.cancel()
    engine.begun[0].over = True
    first.read()
    engine.reserved.move()
    assert len(engine.begun) == 1


def test_a_refusal_is_raised_at_once_or_told_later():
    engine = Engine(blocks=6)
    first, second = engine.add(128), engine.add(128)
    engine.refuses = True
    engine.begun[0].over = True
    first.read()
    engine.reserved.move()
    assert second.read().refused == "the engine refused the request"
    with pytest.raises(RequestRefusedError, match="the engine refused"):
        engine.add(20)
