"""What a connection may send, how long it may take for it, and how many there may be. On real sockets."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from tests.waiting import SECONDS

from stoker.serve.http import connections as counting
from stoker.serve.http import outbox, protocol
from stoker.serve.http.backlog import Backlog
from stoker.serve.http.connections import Connections, Refusals, network_of
from stoker.serve.http.server import HttpServer, bind
from stoker.serve.operate.service import Service

LIVE = b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
Use = Callable[[int], Awaitable[None]]


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "STALLED_SECONDS", 0.6)
    monkeypatch.setattr(protocol, "UPLOAD_SECONDS", 0.6)
    monkeypatch.setattr(protocol, "_CHECK_SECONDS", 0.1)
    monkeypatch.setattr(outbox, "STALLED_SECONDS", 0.6)


def large_answers(size: int) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/large":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x" * size})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    return app


@asynccontextmanager
async def served(app: Any, keep_alive: float = 30.0, most: int = 1000) -> Any:
    server = HttpServer(app, bind("127.0.0.1", 0), keep_alive=keep_alive, connections=Connections(most))
    task = asyncio.create_task(server.serve())
    await asyncio.sleep(0.05)
    try:
        yield server
    finally:
        await server.stop()
        await task


async def exchanged(port: int, sent: bytes) -> bytes:
    """All that comes back until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        return await asyncio.wait_for(reader.read(), SECONDS)
    finally:
        writer.close()


async def answers(port: int) -> bool:
    return b" 200 " in await exchanged(port, LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))


def run(use: Callable[[Any], Awaitable[None]], app: Any = None, **options: Any) -> None:
    async def inner() -> None:
        async with served(app or large_answers(0), **options) as server:
            await use(server)
            assert await answers(server.port)

    asyncio.run(inner())


HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"X: " + b"a" * 40_000,
        HEAD + b"a" * 40_000,
        HEAD + b"X: " + b" " * 40_000,
        HEAD + b"".join(b"X%d: y\r\n" % number for number in range(200)) + b"\r\n",
        HEAD + b"X: y\r\n" * 3000 + b"\r\n",
        b"GET /" + b"a" * 40_000,
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"\r\n" * 20_000,
    ],
    ids=["value", "name", "blanks", "count", "same", "path", "whole path", "lines"],
)
def test_a_head_has_its_limits(sent: bytes) -> None:
    async def use(server: Any) -> None:
        answer = await exchanged(server.port, sent)
        assert answer.startswith(b"HTTP/1.1 431 "), answer[:200]
        assert b'"code":"header_too_large"' in answer

    run(use)


@pytest.mark.parametrize(
    "sent",
    [CHUNKED + b"5;" + b"e" * 40_000, CHUNKED + b"1\r\nx\r\n0\r\nT: " + b"a" * 900_000],
    ids=["chunk extension", "trailer"],
)
def test_what_is_no_body_has_its_limits_too(service: Service, sent: bytes) -> None:
    from stoker.serve.http.app import create_app

    async def use(server: Any) -> None:
        with suppress(ConnectionResetError):
            assert b" 200 " not in await exchanged(server.port, sent)

    run(use, create_app(service))


def test_trailers_are_no_headers() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        more = scope["method"] == "POST"
        while more:
            more = (await receive()).get("more_body", False)
        seen.extend(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def use(server: Any) -> None:
        sent = (
            CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"1\r\nx\r\n0\r\nAuthorization: x\r\n\r\n"
        )
        assert b" 200 " in await exchanged(server.port, sent)
        assert b"authorization" not in dict(seen)

    run(use, app)


@pytest.mark.parametrize("drip", [b"", b"X: y\r\n"], ids=["silent", "dripping"])
def test_a_head_that_does_not_end_is_a_408(drip: bytes) -> None:
    async def use(server: Any) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        reading = asyncio.create_task(reader.read())
        writer.write(HEAD)
        while not reading.done():
            writer.write(drip)
            await asyncio.sleep(0.03)
        assert reading.result().startswith(b"HTTP/1.1 408")
        writer.close()

    run(use)


@pytest.mark.parametrize("sent", [b"", LIVE])
def test_idle_connections_end(sent: bytes) -> None:
    async def use(server: Any) -> None:
        assert (await exchanged(server.port, sent)).count(b" 200 ") == bool(sent)

    run(use, keep_alive=0.3)


def test_a_body_that_nobody_waits_for_does_not_keep_a_connection() -> None:
    """A byte now and then would, where only silence were counted."""

    async def use(server: Any) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        reading = asyncio.create_task(reader.read())
        while not reading.done():
            writer.write(b"x")
            await asyncio.sleep(0.03)
        writer.close()

    run(use, keep_alive=0.3)


def test_a_connection_that_answered_before_the_body_was_there_serves_the_next_request() -> None:
    async def use(server: Any) -> None:
        sent = b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent)
        await asyncio.wait_for(reader.readuntil(b"ok"), SECONDS)
        writer.write(b"hello" + LIVE)
        await asyncio.wait_for(reader.readuntil(b"ok"), SECONDS)
        writer.close()

    run(use)


def test_requests_in_a_row_are_answered_and_too_many_are_not_kept() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.1)
        await large_answers(0)(scope, receive, send)

    async def use(server: Any) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(LIVE * 5)
        for _ in range(5):
            await asyncio.wait_for(reader.readuntil(b"ok"), SECONDS)
        writer.close()
        with_reset = b""
        with suppress(ConnectionResetError):
            with_reset = await exchanged(server.port, LIVE * 5000)
        assert with_reset.count(b" 200 ") < 5000

    run(use, app)


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
@pytest.mark.parametrize("size", [8 << 20, 50_000], ids=["large", "small"])
def test_an_answer_that_is_not_read_is_given_up(size: int, close: bytes) -> None:
    async def use(server: Any) -> None:
        one = socket.create_connection(("127.0.0.1", server.port))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n" + close + b"\r\n")
        counted = server.connections
        await asyncio.sleep(0.1)
        for _ in range(300):
            if not counted.count:
                break
            await asyncio.sleep(0.05)
        assert counted.count == 0
        one.close()

    run(use, large_answers(size), keep_alive=0.2)


def test_unread_answers_have_a_limit_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Backlog(20 << 20)
    monkeypatch.setattr(protocol, "backlog", own)
    monkeypatch.setattr(protocol, "STALLED_SECONDS", 60.0)

    async def use(server: Any) -> None:
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
        for client in clients:
            client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(200):
            await asyncio.sleep(0.05)
            if server.connections.count <= 5:
                break
        assert 1 <= server.connections.count <= 5
        assert 0 < own.total <= 20 << 20
        for client in clients:
            client.close()

    run(use, large_answers(8 << 20))


def test_a_slow_reader_gets_all() -> None:
    async def use(server: Any) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        size = 0
        while part := await reader.read(1 << 18):
            size += len(part)
            await asyncio.sleep(0.04)
        assert size > 8 << 20
        writer.close()

    run(use, large_answers(8 << 20))


def test_too_many_connections_are_turned_away_and_idle_ones_make_room(caplog: pytest.LogCaptureFixture) -> None:
    async def use(server: Any) -> None:
        clients = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(4)]
        for _, writer in clients:
            writer.write(HEAD)  # not idle: a request has begun
        await asyncio.sleep(0.1)
        assert (await exchanged(server.port, LIVE)).startswith(b"HTTP/1.1 503")
        for _, writer in clients:
            writer.close()
        await asyncio.sleep(0.1)
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(4)]
        await asyncio.sleep(0.1)
        assert await answers(server.port)
        assert await asyncio.wait_for(idle[0][0].read(), SECONDS) == b""
        for _, writer in idle:
            writer.close()

    monkey = pytest.MonkeyPatch()
    monkey.setattr(counting, "refusals", Refusals())
    with monkey.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(protocol, "HEAD_SECONDS", 30.0)
        run(use, most=8)
    assert "connections over 4 of one address" in caplog.text


def test_addresses_are_counted_as_their_owners_have_them() -> None:
    assert network_of("1.2.3.4") == network_of("::ffff:1.2.3.4") == "1.2.3.4"
    assert network_of("2001:db8:1:2::1") == network_of("2001:db8:1:2:ffff::7") != network_of("2001:db8:1:3::1")
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of("local") == "local"


def test_one_address_leaves_room_for_others() -> None:
    counted = Connections(4)
    places = [counted.enter("1.1.1.1") for _ in range(3)]
    assert places[2] is None
    assert counted.enter("2.2.2.2")
    assert places[0] is not None
    places[0].leave()
    places[0].leave()
    assert counted.enter("1.1.1.1")
    assert counted.count == 3


def test_refusals_are_told_once_in_a_while(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(counting.time, "monotonic", lambda: now)
    refusals = Refusals()
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            refusals.tell("guests", "1.2.3.4")
        assert len(caplog.records) == 1
        now += 11
        refusals.tell("guests", "1.2.3.4")
    assert [record.getMessage() for record in caplog.records] == [
        "refused: guests, the last one by 1.2.3.4",
        "refused: guests, the last one by 1.2.3.4 (1000 times since it was last logged)",
    ]


def test_room_is_left_for_everything_else() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "from stoker.serve.http.connections import raise_descriptor_limit, room\n"
        "raise_descriptor_limit(); print(*room())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    api, management = map(int, told.stdout.split())
    assert 4 <= api <= 32
    assert 4 <= management <= 8
    assert "limit of open files is 64" in told.stderr


def test_the_soft_limit_is_raised() -> None:
    code = (
        "import resource; hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))\n"
        "from stoker.serve.http.connections import raise_descriptor_limit\n"
        "raise_descriptor_limit(); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert int(told.stdout) == min(hard if hard >= 0 else 65536, 65536)
