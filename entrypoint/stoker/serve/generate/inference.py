"""The endpoints that take a body, from it to the last byte of the answer. Raw ASGI: per token nothing but bytes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import Generic

import msgspec

from stoker.errors import StokerError
from stoker.serve.generate.admission import Turns
from stoker.serve.generate.fan_out import interleave, pieces
from stoker.serve.generate.measurement import Measurement
from stoker.serve.generate.sequence import Piece
from stoker.serve.http.asgi import ClientGoneError, Receive, Scope, Send, respond, while_connected
from stoker.serve.http.error_forms import ErrorForm, error_form
from stoker.serve.http.errors import ApiError, from_stoker, internal, too_slow, unavailable
from stoker.serve.http.ignored import Ignored, begin
from stoker.serve.http.limits import Call, call_of, expected_bytes
from stoker.serve.http.middleware import RequestRecord
from stoker.serve.http.outbox import outbox
from stoker.serve.http.uploads import Upload
from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.lifecycle import Serving
from stoker.serve.operate.service import Service
from stoker.serve.request.decoding import Body, read
from stoker.serve.request.job import EVENT_STREAM, Job, Prepare
from stoker.serve.request.lanes import CLIENT
from stoker.serve.request.purpose import TEXT, check_purpose

logger = logging.getLogger(__name__)

_UNBUFFERED = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
_MANY_SCORES = 2048  # to write them takes some milliseconds


@dataclass(frozen=True)
class Exchange:
    """One request, and where its answer goes."""

    serving: Serving
    call: Call
    record: RequestRecord
    reply: _Reply
    upload: Upload


class Endpoint(Generic[Body]):
    """What endpoints with a body share: they need an engine, end with their client, and tell errors in their form.

    `kind`: the type of the body. `purpose`: what the model must be for (stoker.serve.request.purpose); empty for any.
    """

    def __init__(self, kind: type[Body], service: Service, purpose: str = "") -> None:
        self._kind = kind
        self._service = service
        self._purpose = purpose

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record: RequestRecord = scope["state"]["record"]
        ignored = begin(reject=self._service.reject_unknown)
        reply = _Reply(send, error_form(scope["path"]), record.id, ignored)
        try:
            call = call_of(scope, self._service.limits)
            CLIENT.set(call.client)
            lifecycle = self._service.lifecycle
            lifecycle.check()  # before the body: what is refused anyway need not be sent
            upload = Upload(self._service.uploads, call.client, expected_bytes(scope, self._service.limits))
            try:
                await upload.read(receive, lifecycle.closing)
                with lifecycle.admit() as serving:
                    await self._serve(receive, Exchange(serving, call, record, reply, upload))
            finally:
                upload.done()
        except ClientGoneError:
            pass  # nobody is left to answer
        except Exception as error:
            record.refused(fault := _api_error(error))
            await reply.fail(fault)
        finally:
            self._service.metrics.ignored(scope["path"], len(ignored.names))

    async def _serve(self, receive: Receive, exchange: Exchange) -> None:
        if self._purpose:
            check_purpose(exchange.serving.frontend, self._purpose)
        aborted, call = self._service.lifecycle.aborted, exchange.call
        try:
            if await while_connected(receive, aborted, self._understood(exchange), call.left):
                raise unavailable("The server is going down.", "draining")
        except asyncio.TimeoutError:
            raise too_slow(call.seconds) from None

    async def _understood(self, exchange: Exchange) -> None:
        await self._answer(await read(exchange.upload.taken(), self._kind), exchange)

    async def _answer(self, request: Body, exchange: Exchange) -> None:
        raise NotImplementedError

    @contextmanager
    def _measured(self, model: str, prompt_tokens: int, exchange: Exchange) -> Iterator[Measurement]:
        """Counts a request that was understood, as a failure unless the block ends in peace."""
        with self._service.metrics.measured(model, prompt_tokens, exchange.call.started) as measurement:
            exchange.record.measurement = measurement
            yield measurement


class Lookup(Endpoint[Body]):
    """Answers without the engine: from the model's tokenizer and template."""

    def __init__(
        self, kind: type[Body], look_up: Callable[[Body, Frontend], Awaitable[object]], service: Service
    ) -> None:
        super().__init__(kind, service)
        self._look_up = look_up

    async def _answer(self, request: Body, exchange: Exchange) -> None:
        found = await self._look_up(request, exchange.serving.frontend)
        await exchange.reply.whole(200, msgspec.json.encode(found))


class Inference(Endpoint[Body]):
    """Generates. The answer begins with the first token, so that whatever goes wrong before has its own status."""

    def __init__(self, kind: type[Body], prepare: Prepare[Body], service: Service) -> None:
        super().__init__(kind, service, TEXT)
        self._prepare = prepare

    async def _answer(self, request: Body, exchange: Exchange) -> None:
        serving, call = exchange.serving, exchange.call
        job = await self._prepare(request, serving.frontend, call)
        exchange.upload.done()
        if self._service.tracer is not None:
            job = replace(job, generations=[replace(each, perf_metrics=True) for each in job.generations])
        tokens = [len(each.input_ids) + each.max_tokens for each in job.generations]
        with self._measured(job.identity.model, job.prompt_tokens, exchange) as measurement:
            job = replace(job, measurement=measurement)
            try:
                with self._service.doorkeeper.enter(call.client, tokens, call.left) as visit:
                    await _generate(serving, job, visit, measurement, exchange.reply)
            finally:
                measurement.finish_reasons = [choice.finish_reason for choice in job.choices if choice.finish_reason]


async def _generate(serving: Serving, job: Job, visit: Turns, measurement: Measurement, reply: _Reply) -> None:
    sources = [
        pieces(serving.engine, generation, choice, visit, measurement, job.budget)
        for generation, choice in zip(job.generations, job.choices, strict=True)
    ]
    async with aclosing(interleave(sources)) as events:
        if job.stream:
            await _stream(job, events, reply)
        else:
            await _collect(job, events, reply)


async def _stream(job: Job, events: AsyncGenerator[tuple[int, Piece], None], reply: _Reply) -> None:
    writer = job.writer(job)
    reply.media_type = job.media_type
    async with outbox(reply.stream) as box:
        async for index, piece in events:
            rendered = writer.render(index, piece)
            if rendered:
                box.put(rendered)
        box.put(writer.ending())
    await reply.end()


async def _collect(job: Job, events: AsyncGenerator[tuple[int, Piece], None], reply: _Reply) -> None:
    said: list[list[Piece]] = [[] for _ in job.choices]
    async for index, piece in events:
        said[index].append(piece)
    many = job.scored > _MANY_SCORES
    await reply.whole(200, await asyncio.to_thread(_written, job, said) if many else _written(job, said))


def _written(job: Job, said: list[list[Piece]]) -> bytes:
    return job.writer(job).whole(list(map(Piece.joined, said)))


class _Reply:
    """Remembers how far an answer has come, so that an error still finds its form."""

    def __init__(self, send: Send, errors: ErrorForm, request_id: str, ignored: Ignored) -> None:
        self._ignored = ignored
        self._send = send
        self._errors = errors
        self._request_id = request_id
        self._begun = False
        self.media_type = EVENT_STREAM

    async def stream(self, body: bytes) -> None:
        if not self._begun:
            self._begun = True
            headers = [(b"content-type", self.media_type), *_UNBUFFERED, *self._warnings()]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def whole(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self._begun = True
        await respond(self._send, status, body, headers=[*(headers or ()), *self._warnings()])

    def _warnings(self) -> list[tuple[bytes, bytes]]:
        return [(b"warning", self._ignored.warning)] if self._ignored.names else []

    async def fail(self, error: ApiError) -> None:
        if self._begun:
            event = self._errors.event(error, self._request_id)
            await self._send({"type": "http.response.body", "body": event, "more_body": True})
            await self.end()
        else:
            await self.whole(error.status, self._errors.body(error, self._request_id), error.headers())


def _api_error(error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, StokerError):
        known = from_stoker(error)
        if known.status < 500 or known.code == "engine_died":
            return known
    logger.error("a request failed", exc_info=error)
    return internal()
