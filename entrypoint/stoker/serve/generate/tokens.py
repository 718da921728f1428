"""Answers as token ids, for those who turn them into text themselves."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from collections.abc import Sequence as Many
from contextlib import aclosing

import msgspec

from stoker.launch.generation import Delta, Generation, Top
from stoker.serve.generate.fan_out import interleave, pieces
from stoker.serve.generate.measurement import Measurement
from stoker.serve.http.limits import Call
from stoker.serve.operate.lifecycle import Serving
from stoker.serve.operate.service import Service
from stoker.serve.request.job import Job


class TokenPiece(msgspec.Struct, frozen=True, gc=False):
    """What one step of the engine added to a choice. `tokens` counts those of the choice up to here."""

    ids: Many[int]
    finish_reason: str | None = None
    log_probs: Many[float] | None = None
    top: Many[Top] | None = None
    tokens: int = 0


class TokenChoice:
    """One choice while it is being generated."""

    def __init__(self, generation: Generation) -> None:
        self._end_ids = frozenset(generation.end_ids)
        self.finish_reason: str | None = None
        self.reused_blocks: int | None = None
        self.tokens = 0

    def feed(self, delta: Delta) -> TokenPiece:
        self.tokens += len(delta.ids)
        if delta.ids and delta.ids[-1] in self._end_ids:
            self.finish_reason = "stop"
        return TokenPiece(delta.ids, self.finish_reason, delta.log_probs, delta.top, self.tokens)

    def end(self) -> TokenPiece:
        """When no more ids come."""
        self.finish_reason = "length"
        return TokenPiece((), self.finish_reason, tokens=self.tokens)


async def token_answer(
    service: Service, serving: Serving, job: Job, call: Call, hear: Callable[[Measurement], None] | None = None
) -> AsyncGenerator[tuple[int, TokenPiece], None]:
    """The job's choices, each piece with the choice's place: admitted, counted and measured like any other. ApiError
    where the queue is full, EngineDiedError. `hear` is given what is measured."""
    choices = [TokenChoice(generation) for generation in job.generations]
    tokens = [len(each.input_ids) + each.max_tokens for each in job.generations]
    with service.metrics.measured(job.identity.model, job.prompt_tokens, call.started) as measurement:
        if hear is not None:
            hear(measurement)
        try:
            with service.doorkeeper.enter(call.client, tokens, call.left) as visit:
                sources = [
                    pieces(serving.engine, generation, choice, visit, measurement)
                    for generation, choice in zip(job.generations, choices, strict=True)
                ]
                async with aclosing(interleave(sources)) as events:
                    async for event in events:
                        yield event
        finally:
            measurement.finish_reasons = [choice.finish_reason for choice in choices if choice.finish_reason]
