"""uvicorn's HTTP/1.1 connection, with limits of size and time for all that a client may send, or leave unread."""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from stoker.serve.http.backlog import backlog
from stoker.serve.http.connections import Place, refusals
from stoker.serve.http.errors import ApiError
from stoker.serve.http.uploads import UPLOAD_SECONDS

HEAD_BYTES = 32 << 10
HEADERS = 128
HEAD_SECONDS = 15.0
PIPELINED = 32
DISCARDED_BYTES = 64 << 20
STALLED_SECONDS = 60.0
SLOWEST_READER = 1024  # bytes a second, on the average since it fell behind
_CHECK_SECONDS = 5.0
_LINGER_SECONDS = 1.0


class _RefusedError(Exception):
    pass


class Connection(HttpToolsProtocol):
    """One connection. It waits for a request as long as `keep-alive` says, for its head HEAD_SECONDS."""

    def __init__(self, place: Place, **given: Any) -> None:
        super().__init__(**given)
        self._place = place
        self._in_head = self._done = False
        self._fault = (400, "invalid_http", "This is not HTTP/1.1.")
        self._silent = self._head_bytes = self._discarded = 0  # bytes: without a body's, of this head, of unread bodies
        self._head_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._stalled = (0.0, 0)
        self._cycles: deque[RequestResponseCycle] = deque()  # all that are not answered, the earliest first

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._disconnect()
        self._unset_keepalive_if_required()
        for timer in (self._head_timer, self._end_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        backlog.release(self)
        self._place.leave()

    def _disconnect(self) -> None:
        """uvicorn tells the last request alone, while one that came before it is answered."""
        for cycle in self._cycles:
            cycle.disconnected = True
            cycle.message_event.set()

    # what comes in

    def data_received(self, data: bytes) -> None:
        if self._done:
            return
        self._unset_keepalive_if_required()
        self._place.busy()
        self._silent += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.cycle.keep_alive = False  # there is nothing to upgrade to, and the parser stops here
        except httptools.HttpParserError:
            self._refuse()
        else:
            self._check_silence()

    def _check_silence(self) -> None:
        """Of a body's own bytes all are counted elsewhere; chunk extensions and trailers are counted here."""
        if self._silent > HEAD_BYTES:
            self._fault = (431, "header_too_large", f"The headers are larger than {HEAD_BYTES} bytes.")
            self._refuse()
        elif self._in_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_is_late(self) -> None:
        self._fault = (408, "header_timeout", f"The headers did not arrive within {HEAD_SECONDS:g} s.")
        self._refuse()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes, self._discarded = True, 0, 0

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers, which come after a body, mean nothing here."""
        self._count_head(len(name) + len(value) + 4)
        if not self._in_head:
            return
        if len(self.headers) >= HEADERS:
            self._fault = (431, "header_too_large", f"There are more than {HEADERS} headers.")
            raise _RefusedError
        super().on_header(name, value)

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            self._fault = (431, "header_too_large", f"The headers are larger than {HEAD_BYTES} bytes.")
            raise _RefusedError

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if len(self.pipeline) >= PIPELINED:
            self._fault = (429, "rate_limit_exceeded", f"More than {PIPELINED} requests wait on this connection.")
            raise _RefusedError
        super().on_headers_complete()
        self._cycles.append(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._silent = 0
        super().on_body(body)
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > DISCARDED_BYTES:
                raise _RefusedError

    def on_message_complete(self) -> None:
        self._silent = 0
        super().on_message_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            if self._end_timer is not None:
                self._end_timer.cancel()
                self._end_timer = None
            self._wait_for_request()

    def _refuse(self) -> None:
        """Answers where no answer is under way, and ends the connection."""
        if self._done:
            return
        self._done = True
        status, code, text = self._fault
        refusals.tell(f"requests with status {status} ({code})", self._place.address)
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            return
        if not self.transport.is_closing():
            self.transport.write(_refusal(status, code, text))
            if self.transport.can_write_eof():
                self.transport.write_eof()
                self._end_in(_LINGER_SECONDS)  # not at once: closing before all is read resets the connection
            else:
                self._close()

    # what goes out

    def on_response_complete(self) -> None:
        self._cycles.popleft()
        super().on_response_complete()
        if self.transport.is_closing():
            self._end_when_stalled()
        elif self.cycle.response_complete and self.cycle.more_body:
            self._end_in(UPLOAD_SECONDS)  # for the rest of a body that nobody waits for
        elif self.cycle.response_complete:
            self._place.idle(self._close)

    def _wait_for_request(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        self._place.idle(self._close)

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def _close(self) -> None:
        """What is still to be sent has time for as long as it is taken."""
        self.transport.close()
        self._end_when_stalled()

    def _end_when_stalled(self, before: int = 0) -> None:
        left = self._unsent()
        if not left and self.transport.is_closing():
            return
        if before and before - left < SLOWEST_READER * STALLED_SECONDS:
            self.transport.abort()
            return
        self._end_timer = self.loop.call_later(STALLED_SECONDS, self._end_when_stalled, max(1, left))

    def _end_in(self, seconds: float) -> None:
        if self._end_timer is not None:
            self._end_timer.cancel()
        self._end_timer = self.loop.call_later(seconds, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        size = self._unsent()
        self._stalled = self.loop.time(), size
        self._write_timer = self.loop.call_later(_CHECK_SECONDS, self._check_reader)
        backlog.hold(self, size)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        backlog.release(self)

    def _check_reader(self) -> None:
        began, size = self._stalled
        seconds, left = self.loop.time() - began, self._unsent()
        if seconds >= STALLED_SECONDS and size - left < SLOWEST_READER * seconds:
            refusals.tell(f"answers that were not read for {STALLED_SECONDS:g} s", self._place.address)
            self.give_up()
            return
        backlog.hold(self, left)
        self._write_timer = self.loop.call_later(_CHECK_SECONDS, self._check_reader)

    def give_up(self) -> None:
        self.transport.abort()

    def _unsent(self) -> int:
        """Bytes. uvloop raises for a transport that was aborted."""
        try:
            return int(self.transport.get_write_buffer_size())
        except RuntimeError:
            return 0


def _refusal(status: int, code: str, text: str) -> bytes:
    body = ApiError(status, text, code=code).body()
    phrase = HTTPStatus(status).phrase.encode()
    head = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\nconnection: close\r\n" % (status, phrase)
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


def connection(place: Place, **given: Any) -> asyncio.Protocol:
    """`given`: as uvicorn makes its own."""
    return cast(asyncio.Protocol, Connection(place, **given))
