"""POST /v1/chat/completions and /v1/completions, from body to last byte. Raw ASGI: per token nothing but bytes."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from stoker.errors import StokerError
from stoker.serve.answers import usage, whole
from stoker.serve.asgi import ClientGoneError, Receive, Scope, Send, read_body, respond, while_connected
from stoker.serve.chunks import DONE, Chunks, error_event
from stoker.serve.errors import ApiError, from_stoker, internal, unavailable
from stoker.serve.fan_out import interleave, pieces
from stoker.serve.lifecycle import Lifecycle, Serving
from stoker.serve.measurement import Measurement
from stoker.serve.metrics import Metrics
from stoker.serve.middleware import RequestRecord
from stoker.serve.preparation import Job, Prepare

logger = logging.getLogger(__name__)

_EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Inference:
    """One endpoint. The answer begins with the first token, so that whatever goes wrong before has its own status."""

    def __init__(self, prepare: Prepare, lifecycle: Lifecycle, metrics: Metrics) -> None:
        self._prepare = prepare
        self._lifecycle = lifecycle
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = _Reply(send)
        try:
            with self._lifecycle.admit() as serving:
                await self._serve(serving, scope["state"]["record"], receive, reply)
        except ClientGoneError:
            pass  # nobody is left to answer
        except Exception as error:
            await reply.fail(_api_error(error))

    async def _serve(self, serving: Serving, record: RequestRecord, receive: Receive, reply: _Reply) -> None:
        started = time.perf_counter()
        body = await read_body(receive)
        answering = self._answer(serving, body, record, reply, started)
        if await while_connected(receive, self._lifecycle.aborted, answering):
            raise unavailable("The server is going down.", "draining")

    async def _answer(
        self, serving: Serving, body: bytes, record: RequestRecord, reply: _Reply, started: float
    ) -> None:
        job = await self._prepare(body, serving.frontend)
        measurement = self._metrics.begin(job.identity.model, started)
        measurement.prompt_tokens = job.prompt_tokens
        complete = False
        try:
            await _generate(serving, job, measurement, reply)
            complete = True
        finally:
            measurement.finish_reasons = [choice.finish_reason for choice in job.choices if choice.finish_reason]
            seconds = time.perf_counter() - started
            self._metrics.end(job.identity.model, measurement, seconds, success=complete)
            record.prompt_tokens = measurement.prompt_tokens
            record.completion_tokens = measurement.completion_tokens


async def _generate(serving: Serving, job: Job, measurement: Measurement, reply: _Reply) -> None:
    sources = [
        pieces(serving.engine, generation, choice, measurement)
        for generation, choice in zip(job.generations, job.choices, strict=True)
    ]
    async with aclosing(interleave(sources)) as events:
        if job.stream:
            await _stream(job, events, reply)
        else:
            await _collect(job, events, reply)


async def _stream(job: Job, events: AsyncGenerator[tuple[int, str], None], reply: _Reply) -> None:
    chunks = Chunks(job.shape, job.identity, job.choices, with_usage=job.with_usage, log_probs=job.log_probs)
    async for index, text in events:
        rendered = chunks.render(index, text)
        if rendered:
            await reply.stream(rendered)
    ending = chunks.usage(usage(job)) + DONE if job.with_usage else DONE
    await reply.stream(ending)
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
