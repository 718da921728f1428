"""Links of the workers package over a socket, with both ends in one process."""

from __future__ import annotations

import asyncio
import socket

from stoker.workers.link import Link


async def join(one: Link, other: Link) -> None:
    """Connects the two to each other."""
    for link, end in zip((one, other), socket.socketpair(), strict=True):
        end.setblocking(False)
        await _attach(link, end)


async def _attach(link: Link, end: socket.socket) -> None:
    await asyncio.get_running_loop().create_connection(lambda: link, sock=end)
