"""How much one request may ask for, how long it may take, and whose it is."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from typing import Any

from stoker.serve.http.asgi import Receive, Scope, header, read_body
from stoker.serve.http.errors import ApiError, invalid, unavailable
from stoker.serve.http.peers import address_of

UPLOAD_SECONDS = 60.0


@dataclass(frozen=True)
class Limits:
    """0 sets no limit of its own: of `prompt_tokens` the context's is left, of `seconds` none.

    `queue`: requests that may wait for a place in the engine.
    """

    body_bytes: int = 8 << 20
    messages: int = 4096
    prompt_tokens: int = 0
    seconds: float = 0.0
    queue: int = 512


@dataclass(frozen=True)
class Call:
    """What is known of a request beside its body. `started` is time.perf_counter's; `seconds` may be infinite."""

    client: str
    seconds: float
    started: float

    @property
    def left(self) -> float:
        """Seconds, 0 when they are over."""
        return max(0.0, self.seconds - (time.perf_counter() - self.started))


def call_of(scope: Scope, limits: Limits) -> Call:
    """ApiError for an X-Request-Timeout that is none."""
    return Call(client_of(scope), _seconds(header(scope, b"x-request-timeout"), limits), time.perf_counter())


def client_of(scope: Scope) -> str:
    """The name of its API key, else its address: what fairness goes by."""
    return str(scope["state"].get("client") or address_of(scope))


def _seconds(given: bytes, limits: Limits) -> float:
    """The client's own limit, within the server's."""
    most = limits.seconds or math.inf
    if not given:
        return most
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise invalid("X-Request-Timeout is a number of seconds above 0.", "X-Request-Timeout")
    return min(seconds, most)


async def read_body_in_time(receive: Receive, closing: asyncio.Future[None]) -> bytes:
    """ApiError: 408 for a client that sends it too slowly, 503 when it is not there once `closing` is done."""
    reading = asyncio.ensure_future(read_body(receive))
    try:
        either: set[asyncio.Future[Any]] = {reading, closing}
        done, _ = await asyncio.wait(either, timeout=UPLOAD_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if reading in done:
            return reading.result()
    finally:
        reading.cancel()
    if closing in done:
        raise unavailable("The server is going down and waits for no more of this body.", "draining")
    text = f"The body did not arrive within {UPLOAD_SECONDS:g} s."
    raise ApiError(408, text, kind="timeout_error", code="upload_timeout")
