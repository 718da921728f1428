"""What a step of sequences that take turns reads of their prompts."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from tests.engine_settings import engine_settings

from stoker.launch.generation import Generation
from stoker.launch.stub import turns
from stoker.launch.stub.turns import TurnsRuntime


class Engine:
    """Whose clock passes with each token that it runs. `steps`: the tokens of each step, by sequence."""

    def __init__(self, monkeypatch, tmp_path, seconds_per_token: float) -> None:
        self.now = 0.0
        self.seconds_per_token = seconds_per_token
        self.inferred: list[int] = []
        monkeypatch.setattr(turns, "time", SimpleNamespace(monotonic=lambda: self.now))
        settings = engine_settings("none", tmp_path, max_num_tokens=128, max_seq_len=2048, kv_blocks=128)
        self.runtime = TurnsRuntime(settings, lambda: self)

    def infer(self, ids, done, *, every=False):
        self.now += len(ids) * self.seconds_per_token
        self.inferred.append(len(ids))
        return np.zeros(8, np.float32)

    def reset(self) -> None:
        pass

    def step(self) -> list[int]:
        """The tokens that it ran of each sequence."""
        self.inferred.clear()
        self.runtime.step()
        return list(self.inferred)


@pytest.fixture
def begun(monkeypatch, tmp_path):
    def begin(seconds_per_token: float) -> Engine:
        engine = Engine(monkeypatch, tmp_path, seconds_per_token)
        engine.runtime.add(Generation("first", range(200), 500))
        assert [engine.step() for _ in range(3)] == [[128], [72], [1]]  # alone it has all of each step
        engine.runtime.add(Generation("second", range(300), 500))
        return engine

    return begin


def test_where_steps_are_quick_they_are_full(begun):
    engine = begun(0.0001)
    assert [engine.step() for _ in range(4)] == [[1, 127], [1, 127], [1, 46], [1, 1]]


def test_where_steps_are_slow_the_second_prompt_is_read_in_pieces(begun):
    engine = begun(0.005)
    assert [engine.step() for _ in range(5)] == [*[[1, 96]] * 3, [1, 12], [1, 1]]


def test_where_they_are_very_slow_a_piece_at_least_is_read(begun):
    engine = begun(1.0)
    assert engine.step() == [1, 16]
