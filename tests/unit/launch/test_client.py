"""The client's part of a server's death that no real server shows at will."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.waiting import SECONDS
from tritonclient.grpc import service_pb2, service_pb2_grpc

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
        await asyncio.wait_for(asking, SECONDS)
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


class Loaded(service_pb2_grpc.GRPCInferenceServiceServicer):
    async def ModelReady(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelReadyResponse(ready=True)


async def _wait_for_a_model_that_takes_long(address: str) -> int:
    """How often one has to ask, after the server listens at last: gRPC's own back-off would take another second."""
    client = TritonClient()
    client.attach(address, "")
    for _ in range(60):
        assert not await client.model_ready()
        await asyncio.sleep(0.05)
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Loaded(), server)
    server.add_insecure_port(address)
    await server.start()
    asked = 1
    while not await client.model_ready():
        asked += 1
        await asyncio.sleep(0.05)
    await client.detach("over")
    await server.stop(None)
    return asked


@pytest.mark.slow
def test_a_server_is_found_soon_however_long_its_model_took_to_load(tmp_path: Path) -> None:
    assert asyncio.run(_wait_for_a_model_that_takes_long(f"unix:{tmp_path}/triton.sock")) <= 12
