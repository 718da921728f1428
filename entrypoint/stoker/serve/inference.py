"""POST /v1/chat/completions and /v1/completions, from body to last byte. Raw ASGI: per token nothing but bytes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from stoker.errors import StokerError
from stoker.serve.admission import Visit
from stoker.serve.answers import usage, whole
from stoker.serve.asgi import ClientGoneError, Receive, Scope, Send, respond, while_connected
from stoker.serve.chunks import DONE, Chunks, error_event
from stoker.serve.errors import ApiError, from_stoker, internal, too_slow, unavailable
from stoker.serve.fan_out import interleave, pieces
from stoker.serve.lifecycle import Serving
from stoker.serve.limits import Call, call_of, read_body_in_time
from stoker.serve.measurement import Measurement
from stoker.serve.middleware import RequestRecord
from stoker.serve.outbox import outbox
from stoker.serve.preparation import Job, Prepare
from stoker.serve.service import Service

logger = logging.getLogger(__name__)

_EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Inference:
    """One endpoint. The answer begins with the first token, so that whatever goes wrong before has its own status."""

    def __init__(self, prepare: Prepare, service: Service) -> None:
        self._prepare = prepare
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = _Reply(send)
        try:
            call = call_of(scope, self._service.limits)
            with self._service.lifecycle.admit() as serving:
                await self._serve(serving, call, scope["state"]["record"], receive, reply)
        except ClientGoneError:
            pass  # nobody is left to answer
        except Exception as error:
            await reply.fail(_api_error(error))

    async def _serve(
        self, serving: Serving, call: Call, record: RequestRecord, receive: Receive, reply: _Reply
    ) -> None:
        body = await read_body_in_time(receive)
        answering = self._answer(serving, body, call, record, reply)
        aborted = self._service.lifecycle.aborted
        try:
            if await while_connected(receive, aborted, answering, call.left):
                raise unavailable("The server is going down.", "draining")
        except asyncio.TimeoutError:
            raise too_slow(call.seconds) from None

    async def _answer(self, serving: Serving, body: bytes, call: Call, record: RequestRecord, reply: _Reply) -> None:
        job = await self._prepare(body, serving.frontend)
        metrics = self._service.metrics
        measurement = metrics.begin(job.identity.model, call.started)
        measurement.prompt_tokens = job.prompt_tokens
        complete = False
        tokens = [len(each.input_ids) + each.max_tokens for each in job.generations]
        try:
            with self._service.admission.enter(call.client, tokens, call.left) as visit:
                await _generate(serving, job, visit, measurement, reply)
            complete = True
        finally:
            measurement.finish_reasons = [choice.finish_reason for choice in job.choices if choice.finish_reason]
            metrics.end(job.identity.model, measurement, time.perf_counter() - call.started, success=complete)
            record.measurement = measurement


async def _generate(serving: Serving, job: Job, visit: Visit, measurement: Measurement, reply: _Reply) -> None:
    sources = [
        pieces(serving.engine, generation, choice, visit, measurement, job.budget)
        for generation, choice in zip(job.generations, job.choices, strict=True)
    ]
    async with aclosing(interleave(sources)) as events:
        if job.stream:
            await _stream(job, events, reply)
        else:
            await _collect(job, events, reply)


async def _stream(job: Job, events: AsyncGenerator[tuple[int, str], None], reply: _Reply) -> None:
    about = (job.shape, job.identity, job.choices)
    chunks = Chunks(*about, with_usage=job.with_usage, log_probs=job.log_probs, echoes=job.echoes)
    async with outbox(reply.stream) as box:
        async for index, text in events:
            rendered = chunks.render(index, text)
            if rendered:
                box.put(rendered)
        box.put(chunks.usage(usage(job)) + DONE if job.with_usage else DONE)
    await reply.end()


async def _collect(job: Job, events: AsyncGenerator[tuple[int, str], None], reply: _Reply) -> None:
    texts: list[list[str]] = [[] for _ in job.choices]
    async for index, text in events:
        texts[index].append(text)
    await reply.whole(200, whole(job, ["".join(parts) for parts in texts]))


class _Reply:
    """Remembers how far an answer has come, so that an error still finds its form."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False

    async def stream(self, body: bytes) -> None:
        if not self._begun:
            self._begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": _EVENT_STREAM})
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def whole(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self._begun = True
        await respond(self._send, status, body, headers=headers or ())

    async def fail(self, error: ApiError) -> None:
        if self._begun:
            await self._send({"type": "http.response.body", "body": error_event(error.body()), "more_body": True})
            await self.end()
        else:
            await self.whole(error.status, error.body(), error.headers())


def _api_error(error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, StokerError):
        known = from_stoker(error)
        if known.status < 500 or known.code == "engine_died":
            return known
    logger.error("a request failed", exc_info=error)
    return internal()
