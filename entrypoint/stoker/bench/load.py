"""The load client: every stream a raw connection, events counted by their ends, JSON read once an answer."""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections.abc import Sequence
from typing import Any

import httptools

from stoker.bench.statistics import Round, Sample
from stoker.errors import EngineError
from stoker.json_text import parse_json

_EVENT_END = b"\n\n"
_AFTER_TEXT = 2  # the events after the last text: usage, and [DONE]
_KEPT = 4096


class _Answer(asyncio.Protocol):
    """One request on a connection of its own, from the request sent to the answer's end. Also httptools' callbacks."""

    def __init__(self, request: bytes) -> None:
        self.done: asyncio.Future[Sample] = asyncio.get_running_loop().create_future()
        self._request = request
        self._parser: Any = httptools.HttpResponseParser(self)
        self._sent = self._now = 0.0
        self._ends: list[tuple[float, int]] = []
        self._events = 0
        self._tail = b""

    def connection_made(self, transport: Any) -> None:
        self._sent = time.perf_counter()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._now = time.perf_counter() - self._sent
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail("the server's answer is not HTTP", str(error))

    def connection_lost(self, error: Exception | None) -> None:
        self._fail("the server closed the connection in the middle of an answer", str(error or ""))

    def on_body(self, body: bytes) -> None:
        ends = (self._tail[-1:] + body).count(_EVENT_END)
        self._tail = (self._tail + body)[-_KEPT:]
        if ends:
            self._events += ends
            self._ends.append((self._now, self._events))

    def on_message_complete(self) -> None:
        if self.done.done():
            return
        try:
            self.done.set_result(self._sample())
        except (ValueError, LookupError, TypeError):
            status = self._parser.get_status_code()
            said = self._tail.decode(errors="replace").strip()
            self._fail(f"the server did not answer a request of the load (status {status})", said[-_KEPT:])

    def _sample(self) -> Sample:
        """Raises ValueError, LookupError or TypeError for anything but a whole stream with its usage."""
        texts = self._events - _AFTER_TEXT
        first = self._ends[0][0]
        last = next(moment for moment, events in self._ends if events >= texts)
        moments = [moment for moment, _ in self._ends if moment <= last]
        gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
        return Sample(first, last, max(gaps, default=0.0), _completion_tokens(self._tail))

    def _fail(self, what: str, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(EngineError(what, why=why))


def _completion_tokens(tail: bytes) -> int:
    """From the last event but [DONE], which carries the usage."""
    _, usage, done = tail.rstrip().rsplit(b"data: ", 2)
    if done != b"[DONE]":
        raise ValueError("the stream did not end")
    return int(parse_json(usage)["usage"]["completion_tokens"])


def request_bytes(host: str, port: int, body: bytes) -> bytes:
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


async def _stream(host: str, port: int, bodies: Sequence[bytes]) -> list[Sample]:
    """One client: its requests one after the other."""
    samples = []
    loop = asyncio.get_running_loop()
    for body in bodies:
        make = functools.partial(_Answer, request_bytes(host, port, body))
        transport, answer = await loop.create_connection(make, host, port)
        try:
            samples.append(await answer.done)
        finally:
            transport.abort()
    return samples


async def run_round(host: str, port: int, bodies: Sequence[Sequence[bytes]]) -> Round:
    """All streams concurrently; `bodies[i]` are the requests of stream i. EngineError where an answer is not whole."""
    cpu, began = time.process_time(), time.perf_counter()
    tasks = [asyncio.create_task(_stream(host, port, each)) for each in bodies]
    try:
        samples = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    seconds = time.perf_counter() - began
    return Round(tuple(sample for each in samples for sample in each), seconds, time.process_time() - cpu)
