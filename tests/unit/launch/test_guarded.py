"""The engine's own process refuses ids beyond the embedding, whatever runtime it has and whoever sends them."""

from __future__ import annotations

import sys
from array import array
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.engine_settings import engine_settings

from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import opened
from stoker.launch.warm_up import unlikely_prompt

ROWS = 100


class Recorded:
    """A runtime that takes everything."""

    def __init__(self, settings: EngineSettings) -> None:
        self.taken: list[Generation] = []

    def add(self, generation: Generation) -> Any:
        self.taken.append(generation)
        return generation

    def step(self) -> bool:
        return True

    def close(self) -> None:
        pass


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = ModuleType("recorded")
    module.Recorded = Recorded  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "recorded", module)
    settings = replace(engine_settings("recorded:Recorded", Path()), vocabulary_size=ROWS)
    return opened(settings)


@pytest.mark.parametrize(
    "bad",
    [
        {"input_ids": [1, ROWS]},
        {"input_ids": [-1, 1]},
        {"input_ids": np.array([5, 2**31 - 1], np.int32)},
        {"input_ids": [2**40]},
        {"input_ids": [1], "end_ids": (2, ROWS)},
        {"input_ids": [1], "end_ids": (-2,)},
        {"input_ids": [1], "embedding_bias": array("f", bytes(4 * (ROWS + 1)))},
    ],
    ids=str,
)
def test_ids_beyond_the_embedding_never_reach_the_engine(runtime: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(RequestRefusedError):
        runtime.add(Generation("a", max_tokens=1, **bad))


@pytest.mark.parametrize("ids", [[0, ROWS - 1], np.array([0, ROWS - 1], np.int32)], ids=str)
def test_every_row_is_taken(runtime: Any, ids: Any) -> None:
    bias = array("f", bytes(4 * ROWS))
    generation = Generation("a", ids, 1, end_ids=(ROWS - 1,), embedding_bias=bias)
    assert runtime.add(generation) is generation


@pytest.mark.parametrize("size", [1, 2, 50, 0, 100_000])
def test_the_heartbeats_prompt_is_of_the_vocabulary(size: int) -> None:
    assert all(0 <= id_ < (size or 200) for _ in range(20) for id_ in unlikely_prompt(size))
