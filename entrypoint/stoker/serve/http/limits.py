"""How much one request may ask for, how long it may take, and whose it is."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from stoker.serve.http.asgi import Scope, header
from stoker.serve.http.errors import invalid
from stoker.serve.http.peers import address_of


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


def expected_bytes(scope: Scope, limits: Limits) -> int:
    """Of the body: what its length says, else as many as there may be."""
    length = header(scope, b"content-length")
    return min(int(length[:20]), limits.body_bytes) if length.isdigit() else limits.body_bytes
