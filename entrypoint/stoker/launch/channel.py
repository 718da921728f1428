"""The API process's end of the multiplexed stream: one gRPC call for all sequences, one message for each engine step.

Frames (frames.py) come out of that call, and what a sequence waits for is put into its inbox by the one task that
reads; nothing of gRPC happens for each token. Requests and stops go into a second call, which has no answers but
Triton's own refusals.

Triton 2.51 keeps every response to a request until that has its last one. So the channel is opened anew now and then:
the engine ends the former request, and goes on in responses to the new one.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import TYPE_CHECKING, TypeAlias

import grpc

from stoker.launch import frames
from stoker.launch.frames import Extras, Frame, PackedScores, PackedTop, read_frame
from stoker.launch.generation import Delta, EngineDiedError, Generation, RequestRefusedError, Scores, Top, died
from stoker.launch.messages import Address, encode_open, encode_request, encode_stop, error_of, perf_metrics

if TYPE_CHECKING:
    from tritonclient.grpc.service_pb2 import ModelInferRequest, ModelStreamInferResponse
    from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

Call: TypeAlias = "grpc.aio.StreamStreamCall[ModelInferRequest, ModelStreamInferResponse]"

logger = logging.getLogger(__name__)

RENEW_AFTER = 8 << 20  # bytes, of frames and what Triton keeps with each
_KEPT_WITH_EACH = 4096

_Item = Delta | Exception | None
_ENDS = (grpc.aio.AioRpcError, asyncio.InvalidStateError)


class _Inbox:
    """What came for one sequence and has not been taken: deltas, then None or an error."""

    __slots__ = ("_items", "_waiter", "given")

    def __init__(self) -> None:
        self._items: deque[_Item] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.given = False

    def put(self, item: _Item) -> None:
        self._items.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> Delta | None:
        if not self._items:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        item = self._items.popleft()
        if isinstance(item, Exception):
            raise item
        return item


class Channel:
    """One server's, as long as that lives. `heard` is called when tokens have come."""

    def __init__(self, stub: GRPCInferenceServiceStub, heard: Callable[[], None]) -> None:
        self._stub = stub
        self._heard = heard
        self._number = secrets.randbits(63)
        self._serial = itertools.count()
        self._inboxes: dict[int, _Inbox] = {}
        self._outbox: deque[ModelInferRequest] = deque()
        self._wake = asyncio.Event()
        self._failure: EngineDiedError | None = None
        self._calls: set[Call] = set()
        self._reading = self._opened = self._weight = 0  # serial numbers of openings; bytes since the last of them
        self._early: list[bytes] = []
        self._tasks = {asyncio.create_task(self._open())}

    @property
    def in_flight(self) -> int:
        return len(self._inboxes)

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta, None]:
        """As TritonClient.generate."""
        if self._failure is not None:
            raise self._failure
        handle = next(self._serial) & 0xFFFFFFFF
        address = Address(self._number, handle)
        inbox = self._inboxes[handle] = _Inbox()
        self._send(encode_request(generation, _wire_id(handle), address))
        try:
            while (delta := await inbox.next()) is not None:
                yield delta
        finally:
            if self._inboxes.pop(handle, None) is not None and self._failure is None:
                self._send(encode_stop(_wire_id(handle), address))

    def _send(self, request: ModelInferRequest) -> None:
        self._outbox.append(request)
        self._wake.set()

    async def _open(self) -> None:
        """Opens the channel and reads its frames to the end. Requests, which go into another call and could overtake
        the opening, are sent once the engine has answered it with its first frame, an empty one."""
        open_there = False
        try:
            call = self._call()
            await call.write(encode_open(self._number, 0))
            while (message := await call.read()) is not grpc.aio.EOF:
                self._hear_of(message)
                if not open_there and self._failure is None:
                    open_there = True
                    self._start(self._feed())
                if self._weight > RENEW_AFTER and self._opened == self._reading:
                    self._weight = 0
                    self._opened += 1
                    await call.write(encode_open(self._number, self._opened))
            self.fail(died("its stream ended early"))
        except Exception as error:  # frames that make no sense among them: nobody would read the others
            self._fail_by(error)

    async def _feed(self) -> None:
        """A task of its own: grpc.aio takes one message at a time, and cancels the call with whoever waits for that."""
        try:
            call = self._call()
            self._start(self._read_refusals(call))
            while True:
                await call.write(await self._next())
        except Exception as error:
            self._fail_by(error)

    async def _next(self) -> ModelInferRequest:
        while not self._outbox:
            self._wake.clear()
            await self._wake.wait()
        return self._outbox.popleft()

    async def _read_refusals(self, call: Call) -> None:
        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                if message.error_message:
                    self._refuse(message.infer_response.id, error_of(message.error_message))
            self.fail(died("its stream ended early"))
        except Exception as error:
            self._fail_by(error)

    def _call(self) -> Call:
        call = self._stub.ModelStreamInfer()
        self._calls.add(call)
        return call

    def _start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _fail_by(self, error: Exception) -> None:
        if isinstance(error, grpc.aio.AioRpcError):
            self.fail(died(error.details() or error.code().name))
            return
        if not isinstance(error, _ENDS) and self._failure is None:
            logger.error("the stream of an engine failed", exc_info=error)
        self.fail(died(str(error) or type(error).__name__))

    def _hear_of(self, message: ModelStreamInferResponse) -> None:
        """A frame of the opening that is read, or of the one after it, which then waits for the last of this one."""
        if message.error_message:
            self.fail(died(message.error_message))
            return
        response = message.infer_response
        current = response.id.endswith(f"/{self._reading}")
        for raw in response.raw_output_contents:
            self._weight += len(raw) + _KEPT_WITH_EACH
            if current:
                self._distribute(read_frame(raw))
            else:
                self._early.append(raw)
        if current and response.parameters["triton_final_response"].bool_param:
            self._go_on()

    def _go_on(self) -> None:
        if self._reading == self._opened:
            self.fail(died("it closed its stream"))
        self._reading += 1
        early, self._early = self._early, []
        for raw in early:
            self._distribute(read_frame(raw))

    def _refuse(self, wire_id: str, error: RequestRefusedError | EngineDiedError) -> None:
        """Triton itself refused a request, or what stands in its way: then it names none."""
        inbox = self._inboxes.pop(int(wire_id), None) if wire_id.isdigit() else None
        if inbox is not None:
            inbox.put(error)
        elif not wire_id.isdigit():
            self.fail(died(str(error)))

    def _distribute(self, frame: Frame) -> None:
        inboxes, ids, log_probs, extras = self._inboxes, frame.ids, frame.log_probs, frame.extras
        for place, handle, reason, begin, end in frame:
            inbox = inboxes.get(handle)
            if inbox is None:
                continue
            told = extras.get(place) if extras else None
            if begin < end or told:
                _give(inbox, Delta(ids[begin:end], log_probs[begin:end] if log_probs else None), told)
            if reason:
                del inboxes[handle]
                inbox.put(_ending(reason, inbox.given, told or {}))
        if ids:
            self._heard()

    def fail(self, error: EngineDiedError) -> None:
        """Ends all that is in flight, and every request to come."""
        if self._failure is not None:
            return
        self._failure = error
        inboxes, self._inboxes = self._inboxes, {}
        for inbox in inboxes.values():
            inbox.put(error)
        for call in self._calls:
            call.cancel()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()


def _wire_id(handle: int) -> str:
    return str(handle)


def _give(inbox: _Inbox, delta: Delta, told: Extras | None) -> None:
    if told:
        moments = told.get("told")
        embedding = told.get("embedding")
        vector = None if embedding is None else memoryview(embedding).cast("f")
        top = top_of(told["top"]) if "top" in told else None
        prompt = scores_of(told["prompt"]) if "prompt" in told else None
        delta = Delta(delta.ids, delta.log_probs, perf_metrics(moments) if moments else None, vector, top, prompt)
    given = bool(delta.ids) or delta.embedding is not None or delta.prompt is not None
    inbox.given = inbox.given or given
    if given or delta.perf_metrics is not None:
        inbox.put(delta)


def top_of(packed: PackedTop) -> list[Top]:
    """Of a frame's extras: k pairs for each token."""
    k, ids, log_probs = packed[0], memoryview(packed[1]).cast("i"), memoryview(packed[2]).cast("f")
    pairs = list(zip(ids, log_probs, strict=True))
    return [pairs[begin : begin + k] for begin in range(0, len(pairs), k)]


def scores_of(packed: PackedScores) -> Scores:
    """Of a frame's extras. Nothing is taken apart before it is rendered."""
    width, ids, log_probs, ranks = packed
    return Scores(width, memoryview(ids).cast("i"), memoryview(log_probs).cast("f"), memoryview(ranks).cast("i"))


def _ending(reason: int, given: bool, told: Extras) -> Exception | None:
    text = str(told.get("error", ""))
    if reason == frames.REFUSED:
        return RequestRefusedError(text)
    if reason in (frames.FAILED, frames.CANCELLED):
        return died(text or "it dropped the request")
    if reason == frames.OUT_OF_MEMORY and not given:
        return RequestRefusedError("the prompt does not fit", why="no KV cache is free for it")
    return None
