"""What clients, proxies and load balancers do to connections, paths and methods."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.waiting import SECONDS, until

import stoker.listening
from stoker.serve.http.app import create_app, create_management_app
from stoker.serve.http.keys import Keys
from stoker.serve.http.limits import client_of
from stoker.serve.http.server import KEEP_ALIVE_SECONDS, HttpServer, bind
from stoker.serve.operate.service import Exposure, Service

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask, Listening
    from tests.unit.serve.scripted import ScriptedEngine


CHAT: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
READS = [
    *(
        "/",
        "/page/page.css",
        "/docs",
        "/openapi.json",
        "/version",
        "/metrics",
        "/v1/metadata",
        "/v1/plan",
        "/v1/status",
    ),
    *("/v1/models", "/v1/models/demo", "/v1/models/none", "/v1/nothing"),
    *("/v1/health/live", "/v1/health/ready", "/v1/health/startup", "/v1/responses/resp_0", "/v1/chat/completions"),
]


@pytest.mark.parametrize("path", READS)
def test_head_is_get_without_the_body(ask: Ask, path: str) -> None:
    got, head = ask(path), ask(path, method="HEAD")
    assert head.status == got.status
    assert head.text == ""
    assert head.headers["content-type"] == got.headers["content-type"]
    if path not in ("/metrics", "/v1/status", "/v1/health/startup"):  # whose bodies change
        assert head.headers["content-length"] == got.headers["content-length"]


def test_head_on_the_management_port_and_over_a_socket(service: Service) -> None:
    async def run() -> None:
        server = HttpServer(create_management_app(service), bind("127.0.0.1", 0))
        task = asyncio.create_task(server.serve())
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=SECONDS) as client:
            for path in ("/metrics", "/v1/health/live", "/v1/health/ready"):
                for _ in range(2):  # the connection goes on being one
                    answer = await client.head(path)
                    assert (answer.status_code, answer.content) == (200, b"")
            assert (await client.get("/v1/health/live")).json()["live"]
        await server.stop()
        await task

    asyncio.run(run())


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/",
        "http://test//v1/models",
        "/v1/models//",
        "/docs/",
        "/v1/health/live/",
        "/metrics/",
        "/v1/models/demo/",
    ],
)
def test_a_slash_at_the_end_changes_nothing(ask: Ask, path: str) -> None:
    answer = ask(path)
    assert answer.status == 200
    assert "location" not in answer.headers


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"])
def test_a_slash_at_the_end_of_what_takes_a_body(ask: Ask, path: str) -> None:
    body = {**CHAT, "prompt": "a"} if path == "/v1/completions" else CHAT
    body = {name: value for name, value in body.items() if name != "messages"} if path == "/v1/completions" else body
    body = {"model": "demo", "input": "Hi"} if path == "/v1/responses" else body
    assert ask(f"{path}/", body).status == 200
    assert ask(f"{path}/").status == 405
    assert ask("/v1/nothing/", body).status == 404


def test_keys_are_asked_for_behind_a_slash_too(service: Service, ask: Ask) -> None:
    service.exposure = Exposure(keys=Keys("secret"))
    for path in ("/v1/models/", "http://test//v1/models", "/v1/status/", "/page/../v1/models"):
        assert ask(path).status == 401, path
    assert ask("/v1/models", method="HEAD").status == 401
    assert ask("/v1/health/live/").status == 200


def test_browsers_may_delete(service: Service, ask: Ask) -> None:
    service.exposure = Exposure(cors_origins=("https://chat.example",))
    for method in ("DELETE", "GET", "HEAD", "POST"):
        headers = {"origin": "https://chat.example", "access-control-request-method": method}
        answer = ask("/v1/responses/resp_0", method="OPTIONS", headers=headers)
        assert answer.status == 200, method
        assert method in answer.headers["access-control-allow-methods"]


@pytest.mark.parametrize("top_p", [0, 0.0, 1e-9, 1e-45])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"])
def test_a_top_p_of_nothing_is_greedy(ask: Ask, engine: ScriptedEngine, path: str, top_p: float) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "/v1/completions": {"model": "demo", "prompt": "a"},
        "/v1/responses": {"model": "demo", "input": "Hi"},
    }
    assert ask(path, {**bodies.get(path, CHAT), "top_p": top_p}).status == 200
    assert (engine.asked[-1].temperature, engine.asked[-1].top_p) == (0.0, None)


def test_idle_connections_are_kept_longer_than_load_balancers_keep_them(service: Service) -> None:
    assert KEEP_ALIVE_SECONDS >= 75
    with bind("127.0.0.1", 0) as bound:
        assert HttpServer(create_app(service), bound)._server.config.timeout_keep_alive == KEEP_ALIVE_SECONDS
        assert HttpServer(create_app(service), bound, keep_alive=0.5)._server.config.timeout_keep_alive == 0.5


def test_an_idle_connection_is_closed_after_the_time_that_is_set(service: Service) -> None:
    async def run() -> None:
        server = HttpServer(create_app(service), bind("127.0.0.1", 0), keep_alive=0.1)
        task = asyncio.create_task(server.serve())
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        until_closed = await asyncio.wait_for(reader.read(), SECONDS)
        assert until_closed.startswith(b"HTTP/1.1 200")
        writer.close()
        await server.stop()
        await task

    asyncio.run(run())


@pytest.mark.parametrize("sent", [b"", b'{"model": "de'])
def test_a_body_that_is_half_sent_does_not_hold_the_drain(listening: Listening, service: Service, sent: bytes) -> None:
    async def run() -> None:
        async with listening() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n" + sent)
            await writer.drain()
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS) as client:
                for _ in range(5):  # the other request has been taken up by then
                    assert (await client.get("/v1/health/live")).status_code == 200
            assert service.lifecycle.in_flight == 0
            service.lifecycle.drain()
            assert await service.lifecycle.drained(60)
            answer = await reader.readuntil(b"}}")
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"draining" in answer
            writer.close()

    asyncio.run(asyncio.wait_for(run(), SECONDS))


def test_requests_that_are_whole_are_still_waited_for(
    listening: Listening, engine: ScriptedEngine, service: Service
) -> None:
    async def run() -> None:
        blocked = asyncio.Event()
        engine.before_step = lambda step: blocked.wait() if step == 1 else None
        async with (
            listening() as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS) as client,
        ):
            asking = asyncio.create_task(client.post("/v1/chat/completions", json=CHAT))
            await until(lambda: engine.running)
            service.lifecycle.drain()
            assert not await service.lifecycle.drained(0.05)
            blocked.set()
            assert (await asking).status_code == 200

    asyncio.run(run())


def _ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


@pytest.mark.skipif(not _ipv6(), reason="this machine has no IPv6")
def test_all_addresses_are_those_of_both_families(service: Service) -> None:
    async def run() -> None:
        server = HttpServer(create_app(service), bind("::", 0))
        task = asyncio.create_task(server.serve())
        for host in ("127.0.0.1", "[::1]"):
            async with httpx.AsyncClient(base_url=f"http://{host}:{server.port}", timeout=SECONDS) as client:
                assert (await client.get("/v1/health/live")).status_code == 200
        await server.stop()
        await task

    asyncio.run(run())


@pytest.mark.skipif(not _ipv6(), reason="this machine has no IPv6")
def test_one_address_is_that_alone() -> None:
    """Another process may have the same port of 127.0.0.1, and take the connection."""
    with bind("::1", 0) as bound:
        bound.setblocking(False)
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", bound.getsockname()[1]), timeout=5).close()
        with pytest.raises(BlockingIOError):
            bound.accept()


def test_a_machine_without_ipv6_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stoker.listening, "has_ipv6", lambda: False)
    with bind("::", 0) as bound:
        assert bound.family == socket.AF_INET
        assert bound.getsockname()[0] == "0.0.0.0"


def test_a_client_is_the_same_over_either_family() -> None:
    assert client_of({"client": ("::ffff:10.1.2.3", 5), "state": {}}) == "10.1.2.3"
    assert client_of({"client": ("2001:db8::1", 5), "state": {}}) == "2001:db8::1"
