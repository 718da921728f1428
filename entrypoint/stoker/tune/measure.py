"""One candidate's speed: its engine in a process of its own, without Triton and HTTP, which all have alike."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from stoker.direct.messages import add_message
from stoker.direct.process import EngineProcess
from stoker.errors import EngineError, StoppedError
from stoker.kinds import kind_named
from stoker.launch.generation import Generation
from stoker.plan.types import Plan
from stoker.store.engine import Engine

_LOW_IDS = 2000  # which nearly every vocabulary has
_ROUNDS = 2  # at least
_SECONDS = 2.0  # at least, since a round on a GPU can be over in a tenth of one


@dataclass(frozen=True)
class Load:
    """So many sequences begin at once, each with a prompt that no other has."""

    streams: int
    prompt_tokens: int
    new_tokens: int


_MOST_ON_CPU, _MOST_ON_GPU = Load(16, 128, 32), Load(256, 128, 128)


def load_for(plan: Plan, goal: str) -> Load:
    """What the goal is about: one sequence, or as many as the plan runs at once, up to some."""
    most = _MOST_ON_GPU if plan.chosen.devices else _MOST_ON_CPU
    longest, batch = plan.chosen.max_seq_len, plan.chosen.max_batch_size
    streams = 1 if goal == "latency" else min(batch, most.streams)
    return Load(streams, max(1, min(most.prompt_tokens, longest // 2)), max(1, min(most.new_tokens, longest // 4)))


class Measuring:
    """A loaded and warm engine."""

    def __init__(self, process: EngineProcess, vocabulary: int, stopped: Callable[[], bool]) -> None:
        self._process = process
        self._ids = range(2, min(vocabulary or _LOW_IDS, _LOW_IDS))
        self._random = random.Random(1)  # noqa: S311 (prompts are no secrets)
        self._names = itertools.count()
        self._stopped = stopped

    def rate(self, load: Load) -> float:
        """Tokens/s from the first request to the last token, the better of some rounds. StoppedError, EngineError."""
        self._round(Load(min(load.streams, 2), min(load.prompt_tokens, 16), 4))
        rates, began = list[float](), time.monotonic()
        while len(rates) < _ROUNDS or time.monotonic() - began < _SECONDS:
            rates.append(self._round(load))
        return max(rates)

    def _round(self, load: Load) -> float:
        began = time.perf_counter()
        running = {str(next(self._names)) for _ in range(load.streams)}
        for name in running:
            prompt = self._random.choices(self._ids, k=load.prompt_tokens)
            self._process.send(add_message(Generation(name, prompt, load.new_tokens)))
        tokens = 0
        while running:
            message = self._process.receive()
            if self._stopped():
                raise StoppedError("stopped while measuring", remedy="nothing was kept")
            if "refused" in message or message.get("out_of_memory"):
                raise EngineError("the engine refused a request of the load", why=str(message.get("refused", "")))
            tokens += len(message["ids"])
            if message["ended"]:
                running.discard(message["id"])
        return tokens / (time.perf_counter() - began)


@contextmanager
def engine_of(plan: Plan, engine: Engine, stopped: Callable[[], bool]) -> Iterator[Measuring]:
    """EngineError where it does not start. Nothing of it is left afterwards."""
    part = kind_named(plan.chosen.engine).launch
    process = EngineProcess(part.open_child(engine, plan.chosen, plan.memory.kv, plan.device_uuids))
    try:
        yield Measuring(process, plan.model.architecture.vocabulary_size, stopped)
    finally:
        process.close()
