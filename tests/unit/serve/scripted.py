"""A scripted engine: gives the ids it is told to, in this process, and remembers what it was asked and what ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from stoker.launch.generation import Delta, EngineState, Generation, PerfMetrics, Scores


@dataclass
class ScriptedEngine:
    """`script(generation)` gives the ids of each step; `before_step` may wait, or raise, before any of them."""

    script: Callable[[Generation], Sequence[Sequence[int]]]
    before_step: Callable[[int], object] = lambda step: None
    asked: list[Generation] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    running: int = 0
    perf_metrics: PerfMetrics | None = None
    scores: Callable[[Generation], Scores] | None = None

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta, None]:
        self.asked.append(generation)
        self.running += 1
        left = generation.max_tokens
        finished = False
        prompt = self.scores(generation) if self.scores and generation.prompt_log_probs is not None else None
        try:
            if prompt is not None:
                yield Delta((), prompt=prompt)
            for step, ids in enumerate(self.script(generation)):
                await self._wait(step)
                ids = ids[:left]
                left -= len(ids)
                finished = not left or ids[-1] in generation.end_ids
                told = self.perf_metrics if finished and generation.perf_metrics else None
                yield Delta(ids, [-0.5] * len(ids) if generation.log_probs else None, told)
                if finished:
                    return
            finished = True
        finally:
            self.running -= 1
            if not finished:
                self.cancelled.append(generation.request_id)

    async def _wait(self, step: int) -> None:
        await asyncio.sleep(0)
        waited = self.before_step(step)
        if asyncio.iscoroutine(waited):
            await waited

    async def state(self) -> EngineState:
        return EngineState(self.running, 0, 3, 12, 16)


def one_by_one(ids: Sequence[int]) -> list[list[int]]:
    return [[token_id] for token_id in ids]
