"""Whole inputs go to the engine, and a vector or a score comes back for each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from stoker.launch.generation import EngineClient, Generation
from stoker.serve.generate.admission import Turns
from stoker.serve.generate.fan_out import interleave
from stoker.serve.generate.inference import Endpoint, Exchange
from stoker.serve.generate.measurement import Measurement
from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.service import Service
from stoker.serve.request.decoding import Body
from stoker.serve.request.tokenizing import Input

Vectors: TypeAlias = list[Sequence[float]]


@dataclass(frozen=True)
class PooledJob:
    """`answer` makes the body's document from what came back for each of `inputs`."""

    id: str
    model: str
    inputs: Sequence[Input]
    answer: Callable[[Vectors], dict[str, Any]]

    @property
    def tokens(self) -> int:
        return sum(len(each.ids) for each in self.inputs)


class Encoding(Endpoint[Body]):
    """`purpose` as in stoker.serve.request.purpose."""

    def __init__(
        self,
        kind: type[Body],
        prepare: Callable[[Body, Frontend], Awaitable[PooledJob]],
        service: Service,
        purpose: str,
    ) -> None:
        super().__init__(kind, service, purpose)
        self._prepare = prepare

    async def _answer(self, request: Body, exchange: Exchange) -> None:
        job = await self._prepare(request, exchange.serving.frontend)
        exchange.upload.done()
        call, lengths = exchange.call, [len(each.ids) for each in job.inputs]
        with (
            self._measured(job.model, job.tokens, exchange) as measurement,
            self._service.doorkeeper.enter(call.client, lengths, call.left) as visit,
        ):
            vectors = await _vectors(exchange.serving.engine, job, visit, measurement)
            await exchange.reply.whole(200, msgspec.json.encode(job.answer(vectors)))


async def _vectors(engine: EngineClient, job: PooledJob, visit: Turns, measurement: Measurement) -> Vectors:
    generations = [
        Generation(job.id, each.ids, max_tokens=1, token_types=each.token_types if any(each.token_types) else ())
        for each in job.inputs
    ]
    found: dict[int, Sequence[float]] = {}
    sources = [_vector(engine, generation, visit, measurement) for generation in generations]
    async with aclosing(interleave(sources)) as vectors:
        async for index, vector in vectors:
            found[index] = vector
    return [found[index] for index in range(len(generations))]


async def _vector(
    engine: EngineClient, generation: Generation, visit: Turns, measurement: Measurement
) -> AsyncGenerator[Sequence[float], None]:
    async with visit.turn(len(generation.input_ids)):
        measurement.queue_seconds = visit.queue_seconds
        async with aclosing(engine.generate(generation)) as deltas:
            async for delta in deltas:
                if delta.embedding is not None:
                    yield delta.embedding


def usage(inputs: Sequence[Input]) -> dict[str, int]:
    tokens = sum(len(each.ids) for each in inputs)
    return {"prompt_tokens": tokens, "total_tokens": tokens}
