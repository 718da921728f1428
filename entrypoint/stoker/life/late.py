"""Applications that are imported and made while the engine loads, since making them takes longer than planning."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stoker.event_loop import call_in_loop
from stoker.progress import PHASES
from stoker.serve.http.asgi import App, Receive, Scope, Send, respond
from stoker.serve.operate.lifecycle import Lifecycle

_PATIENCE_SECONDS = 1.0
_ENGINE_COMES = frozenset(PHASES[PHASES.index("loading") :])


class LateApp:
    """Requests that come before it is made wait for it, and are refused where it never will be. It belongs to one event
    loop."""

    def __init__(self, make: Callable[[], App]) -> None:
        self._make = make
        self._made = asyncio.Event()
        self._app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            await self._made.wait()
        if self._app is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await respond(send, 503, b'{"error":{"message":"The server is going down.","type":"server_error"}}')

    async def make(self) -> None:
        """In a thread, so that the engine's start goes on meanwhile."""
        try:
            self._app = await asyncio.to_thread(self._make)
        finally:
            self._made.set()

    def give_up(self) -> None:
        """Nobody waits any more."""
        self._made.set()


async def engine_comes(lifecycle: Lifecycle) -> None:
    """Returns once the engine's server is being started, or after a second: Python runs one import at a time, and
    those of the applications would hold up the plan. Whoever downloads or builds waits no longer for /v1/health."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    before = lifecycle.on_change

    def heard() -> None:
        before()
        if lifecycle.current in _ENGINE_COMES:
            call_in_loop(loop, changed.set)

    lifecycle.on_change = heard
    try:
        await asyncio.wait_for(changed.wait(), _PATIENCE_SECONDS)
    except asyncio.TimeoutError:
        pass
    finally:
        lifecycle.on_change = before
