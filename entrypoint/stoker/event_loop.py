"""An event loop as other threads see it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable


def call_in_loop(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *arguments: object) -> None:
    """Has the loop call it, from any thread; nothing happens where the loop has ended, which it may at any time."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *arguments)
