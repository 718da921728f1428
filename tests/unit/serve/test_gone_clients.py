"""A client that leaves before its requests are answered; on the server's own event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop
from tests.waiting import SECONDS

from stoker.serve.http.connections import Connections
from stoker.serve.http.server import HttpServer, bind

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def test_the_request_that_is_answered_hears_of_it_where_others_wait_behind() -> None:
    answered: list[str] = []
    noticed = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        answered.append(scope["path"])
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})  # into nothing
        await send({"type": "http.response.body", "body": b"x"})
        noticed.set()

    async def served() -> None:
        server = HttpServer(app, bind("127.0.0.1", 0), keep_alive=30, connections=Connections(10))
        task = asyncio.create_task(server.serve())
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(REQUEST * 3)
        while not answered:
            await asyncio.sleep(0.01)
        writer.transport.abort()
        await noticed.wait()
        await server.stop()
        await task

    uvloop.run(asyncio.wait_for(served(), SECONDS))
    assert answered == ["/"]
