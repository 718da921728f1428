"""The API process's end of the multiplexed stream: one gRPC call for all sequences, one message for each engine step.

Requests and stops go into the call, frames (frames.py) come out of it. What a sequence waits for is put into its inbox
by the one task that reads; nothing of gRPC happens for each token.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any

import grpc

from stoker.launch import contract, frames
from stoker.launch.frames import Extras, Frame, read_frame
from stoker.launch.generation import Delta, EngineDiedError, Generation, RequestRefusedError
from stoker.launch.messages import Address, died, encode_open, encode_request, encode_stop, error_of, perf_metrics

_Item = Delta | Exception | None


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

    def __init__(self, stub: Any, heard: Callable[[], None]) -> None:
        self._call = stub.ModelStreamInfer()
        self._heard = heard
        self._number = secrets.randbits(63)
        self._serial = itertools.count()
        self._inboxes: dict[int, _Inbox] = {}
        self._outbox: deque[Any] = deque([encode_open(self._number)])
        self._wake = asyncio.Event()
        self._wake.set()
        self._failure: EngineDiedError | None = None
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]

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

    def _send(self, request: Any) -> None:
        self._outbox.append(request)
        self._wake.set()

    async def _write(self) -> None:
        """A task of its own: grpc.aio takes one message at a time, and cancels the call with whoever waits for that."""
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the reader says why
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._outbox:
                    await self._call.write(self._outbox.popleft())

    async def _read(self) -> None:
        reason = "its stream ended early"
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                self._take(message)
        except grpc.aio.AioRpcError as error:
            reason = error.details() or error.code().name
        except (asyncio.InvalidStateError, ValueError) as error:
            reason = str(error)
        self.fail(died(reason))

    def _take(self, message: Any) -> None:
        if message.error_message:
            self._refuse(message.infer_response.id, error_of(message.error_message))
            return
        for output, raw in zip(message.infer_response.outputs, message.infer_response.raw_output_contents, strict=True):
            if output.name == contract.FRAME:
                self._distribute(read_frame(raw))

    def _refuse(self, wire_id: str, error: RequestRefusedError | EngineDiedError) -> None:
        """Triton itself refused a request, or the channel as a whole: then its id is none of ours."""
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
        self._call.cancel()
        self._tasks[0].cancel()


def _wire_id(handle: int) -> str:
    return str(handle)


def _give(inbox: _Inbox, delta: Delta, told: Extras | None) -> None:
    if told:
        moments = told.get("told")
        embedding = told.get("embedding")
        vector = None if embedding is None else memoryview(embedding).cast("f")
        delta = Delta(delta.ids, delta.log_probs, perf_metrics(moments) if moments else None, vector)
    if delta.ids or delta.embedding is not None:
        inbox.given = True
    if delta.ids or delta.embedding is not None or delta.perf_metrics is not None:
        inbox.put(delta)


def _ending(reason: int, given: bool, told: Extras) -> Exception | None:
    text = str(told.get("error", ""))
    if reason == frames.REFUSED:
        return RequestRefusedError(text)
    if reason in (frames.FAILED, frames.CANCELLED):
        return died(text or "it dropped the request")
    if reason == frames.OUT_OF_MEMORY and not given:
        return RequestRefusedError("the prompt does not fit", why="no KV cache is free for it")
    return None
