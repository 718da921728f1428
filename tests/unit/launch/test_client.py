"""The client's part of a server's death that no real server shows at will."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from stoker.launch.client import TritonClient
from stoker.launch.generation import EngineDiedError, Generation


async def _ask_and_detach() -> None:
    """A request to a server that accepts connections and never says a word, as one does that is being killed."""
    writers: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda reader, writer: writers.append(writer), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    client = TritonClient()
    client.attach(f"127.0.0.1:{port}", "")

    async def ask() -> None:
        async for _ in client.generate(Generation("r", (1,), 1)):
            pass

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0.2)
    await client.detach("it was killed")
    with pytest.raises(EngineDiedError, match="it was killed"):
        await asyncio.wait_for(asking, 30)
    assert client.in_flight == 0
    for writer in writers:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    silent.close()
    await silent.wait_closed()


async def _ask_nobody() -> None:
    client = TritonClient()
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        client.attach(f"127.0.0.1:{taken.getsockname()[1]}", "")
        for _ in range(2):
            with pytest.raises(EngineDiedError):
                async for _ in client.generate(Generation("r", (1,), 1)):
                    pass
        await client.detach("over")


def test_a_server_that_cannot_be_asked_what_it_takes_is_a_dead_engine() -> None:
    asyncio.run(_ask_nobody())


def test_a_request_that_could_not_be_sent_yet_ends_with_the_server() -> None:
    asyncio.run(_ask_and_detach())
