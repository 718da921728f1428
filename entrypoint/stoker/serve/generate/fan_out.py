"""Several choices generated at once, as one stream: fair, and ended together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol, TypeVar

from stoker.launch.generation import Delta, EngineClient, Generation, PerfMetrics
from stoker.serve.generate.admission import Turns
from stoker.serve.generate.budget import Budget, within_budget
from stoker.serve.generate.measurement import EngineRun, Measurement

_T = TypeVar("_T")
_P = TypeVar("_P", covariant=True)


class Choice(Protocol[_P]):
    """What turns the engine's deltas into pieces of an answer."""

    finish_reason: str | None
    reused_blocks: int | None

    def feed(self, delta: Delta) -> _P: ...

    def end(self) -> _P: ...


async def pieces(
    engine: EngineClient,
    generation: Generation,
    choice: Choice[_P],
    visit: Turns,
    measurement: Measurement,
    budget: Budget | None = None,
) -> AsyncGenerator[_P, None]:
    """The choice as it becomes visible, maybe without text; closing it, or a stop string, cancels the generation."""
    if not generation.max_tokens and generation.prompt_log_probs is None:  # nothing to ask an engine for
        yield choice.end()
        return
    previous = 0.0
    source = engine.generate(generation) if budget is None else within_budget(engine, generation, budget)
    async with visit.turn(len(generation.input_ids) + generation.max_tokens):
        measurement.queue_seconds = visit.queue_seconds
        asked = time.perf_counter()
        async with aclosing(source) as deltas:
            async for delta in deltas:
                now = time.perf_counter()
                if delta.perf_metrics is not None:
                    _tell(delta.perf_metrics, asked, choice, measurement)
                if delta.ids:
                    measurement.step(len(delta.ids), now, previous)
                    previous = now
                yield choice.feed(delta)
                if choice.finish_reason is not None:
                    return
    yield choice.end()


def _tell(perf_metrics: PerfMetrics, asked: float, choice: Choice[object], measurement: Measurement) -> None:
    """The first generation is the one whose prompt is the request's, should there be a second within its budget."""
    measurement.engine_runs.append(EngineRun(asked, perf_metrics))
    if choice.reused_blocks is None:
        choice.reused_blocks = perf_metrics.reused_blocks


async def interleave(sources: Sequence[AsyncGenerator[_T, None]]) -> AsyncGenerator[tuple[int, _T], None]:
    """(which, piece). Each source is at most one piece ahead of the others' turn."""
    if len(sources) == 1:
        async with aclosing(sources[0]) as only:
            async for piece in only:
                yield 0, piece
        return
    queue: asyncio.Queue[tuple[int, _T | BaseException | None]] = asyncio.Queue(len(sources))
    tasks = [asyncio.create_task(_pump(index, source, queue)) for index, source in enumerate(sources)]
    try:
        async for event in _drain(queue, len(sources)):
            yield event
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(
    index: int, source: AsyncGenerator[_T, None], queue: asyncio.Queue[tuple[int, _T | BaseException | None]]
) -> None:
    try:
        async with aclosing(source) as texts:
            async for piece in texts:
                await queue.put((index, piece))
    except Exception as error:
        await queue.put((index, error))
    else:
        await queue.put((index, None))


async def _drain(
    queue: asyncio.Queue[tuple[int, _T | BaseException | None]], open_sources: int
) -> AsyncGenerator[tuple[int, _T], None]:
    while open_sources:
        index, piece = await queue.get()
        if isinstance(piece, BaseException):
            raise piece
        if piece is None:
            open_sources -= 1
        else:
            yield index, piece
