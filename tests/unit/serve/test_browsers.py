"""What a page in a browser could do in another site's name, and what clients may say of themselves."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from typing import TYPE_CHECKING

import pytest

from stoker.errors import UsageError
from stoker.serve.http.app import create_app, create_management_app
from stoker.serve.http.browsers import host_name
from stoker.serve.http.keys import Keys
from stoker.serve.http.peers import networks_of
from stoker.serve.http.server import HttpServer, bind
from stoker.serve.operate.service import Exposure, Service

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask
    from tests.unit.serve.scripted import ScriptedEngine


PLAIN = {"model": "demo", "prompt": "Once", "max_tokens": 2}
PATH = "/v1/completions"
FOREIGN = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.nip.io",
    "a.local.evil.com",
    "x.svc.co",
]
OWN = [
    *("localhost", "localhost:8000", "LOCALHOST", "127.0.0.1:1", "10.1.2.3", "[::1]:8000", "[fe80::1]", "stoker:8000"),
    *("box.local", "stoker.default.svc", "stoker.default.svc.cluster.local:8000", "localhost.", "a.localhost"),
    socket.gethostname(),
]


@pytest.mark.parametrize("host", FOREIGN)
def test_a_name_that_a_stranger_can_have_is_refused(ask: Ask, engine: ScriptedEngine, host: str) -> None:
    """DNS rebinding: the page's own name points at the server."""
    for path, body in ((PATH, PLAIN), ("/v1/models", None), ("/metrics", None), ("/", None)):
        answer = ask(path, body, headers={"host": host, "origin": f"http://{host}"})
        assert answer.status == 403
        assert answer.error["code"] == "host_not_allowed"
    assert engine.asked == []
    assert ask("/v1/health/live", headers={"host": host}).status == 200


@pytest.mark.parametrize("host", OWN)
def test_names_that_no_stranger_can_have_are_taken(ask: Ask, host: str) -> None:
    assert ask(PATH, PLAIN, headers={"host": host}).status == 200
    assert ask(PATH, PLAIN, headers={"host": host, "origin": f"http://{host}"}).status == 200


@pytest.mark.parametrize(
    ("allowed", "host", "status"),
    [
        ("llm.example.com", "llm.example.com:8000", 200),
        ("llm.example.com", "other.example.com", 403),
        ("*.example.com", "a.b.example.com", 200),
        ("*.example.com", "example.com.evil.net", 403),
        ("*.Example.com", "LLM.example.COM", 200),
        ("*", "evil.example", 200),
    ],
)
def test_names_can_be_allowed(ask: Ask, service: Service, allowed: str, host: str, status: int) -> None:
    service.exposure = Exposure(allowed_hosts=(allowed,))
    assert ask(PATH, PLAIN, headers={"host": host}).status == status


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://test:81", "http://[", "chrome-extension://x"]
)
def test_another_sites_page_is_refused(ask: Ask, engine: ScriptedEngine, origin: str) -> None:
    answer = ask(PATH, PLAIN, headers={"origin": origin})
    assert answer.status == 403
    assert answer.error["code"] == "origin_not_allowed"
    assert engine.asked == []


def test_it_is_taken_where_it_is_named(ask: Ask, service: Service) -> None:
    service.exposure = Exposure(cors_origins=("https://a.example",))
    assert ask(PATH, PLAIN, headers={"origin": "https://a.example"}).status == 200
    assert ask(PATH, PLAIN, headers={"origin": "https://b.example"}).status == 403
    assert ask(PATH, PLAIN, headers={"origin": "http://test"}).status == 200
    service.exposure = Exposure(cors_origins=("*",))
    assert ask(PATH, PLAIN, headers={"origin": "https://b.example"}).status == 200


def test_with_keys_pages_have_none_and_every_name_is_taken(ask: Ask, service: Service) -> None:
    service.exposure = Exposure(keys=Keys("secret"))
    told = {"host": "llm.example.com", "origin": "https://chat.example"}
    assert ask(PATH, PLAIN, headers=told).status == 401
    assert ask(PATH, PLAIN, headers={**told, "authorization": "Bearer secret"}).status == 200
    service.exposure = Exposure(keys=Keys("secret"), allowed_hosts=("other.example.com",))
    assert ask(PATH, PLAIN, headers={**told, "authorization": "Bearer secret"}).status == 403


@pytest.mark.parametrize(
    "path", [PATH, "/v1/chat/completions", "/v1/messages", "/v1/embeddings", "/tokenize", "/rerank"]
)
@pytest.mark.parametrize(
    "kind",
    ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data", "json"],
)
def test_bodies_are_json(ask: Ask, engine: ScriptedEngine, path: str, kind: str) -> None:
    answer = ask(path, PLAIN, headers={"content-type": kind})
    assert answer.status == 415
    assert "application/json" in answer.text
    assert engine.asked == []


@pytest.mark.parametrize("kind", ["application/json", "application/JSON; charset=utf-8", "application/vnd.api+json"])
def test_json_has_several_names(ask: Ask, kind: str) -> None:
    assert ask(PATH, PLAIN, headers={"content-type": kind}).status == 200


def test_the_management_port_has_no_keys_and_checks_names(service: Service) -> None:
    async def go() -> None:
        server = HttpServer(create_management_app(service), bind("127.0.0.1", 0))
        task = asyncio.create_task(server.serve())
        try:
            assert await status_of(server.port, "GET /metrics", "evil.example") == 403
            assert await status_of(server.port, "GET /metrics", f"127.0.0.1:{server.port}") == 200
        finally:
            await server.stop()
            await task

    asyncio.run(go())


async def status_of(port: int, request: str, host: str, *headers: str, body: bytes = b"") -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{request} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


def addresses(service: Service, caplog: pytest.LogCaptureFixture, *headers: str) -> list[str]:
    """The address in the log of a request from this machine over a real socket."""
    caplog.set_level(logging.INFO, "stoker.access")

    async def go() -> None:
        server = HttpServer(create_app(service), bind("127.0.0.1", 0))
        task = asyncio.create_task(server.serve())
        try:
            body = json.dumps(PLAIN).encode()
            assert await status_of(server.port, f"POST {PATH}", "localhost", *headers, body=body) == 200
        finally:
            await server.stop()
            await task

    asyncio.run(go())
    return [record.__dict__["fields"]["address"] for record in caplog.records if record.name == "stoker.access"]


def test_a_client_of_this_machine_cannot_choose_its_address(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    told = ("X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6", "X-Forwarded-Proto: https")
    assert addresses(service, caplog, *told) == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("X-Forwarded-For: 6.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("X-Forwarded-For: 203.0.113.7, 127.0.0.1, 10.0.0.9", "203.0.113.7"),
        ("X-Forwarded-For: 203.0.113.7, nonsense", "127.0.0.1"),
        ("X-Forwarded-For: 2001:db8::1", "2001:db8::1"),
        ("X-Other: 1", "127.0.0.1"),
    ],
)
def test_a_trusted_proxy_says_whose_request_it_is(
    service: Service, caplog: pytest.LogCaptureFixture, told: str, address: str
) -> None:
    service.exposure = Exposure(trusted_proxies=networks_of("127.0.0.0/8, 10.0.0.0/8"))
    assert addresses(service, caplog, told) == [address]


def test_proxies_are_addresses() -> None:
    with pytest.raises(UsageError, match="trusted-proxies"):
        networks_of("proxy.example.com")


def test_the_access_log_names_key_and_address(ask: Ask, service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stoker.access")
    service.exposure = Exposure(keys=Keys("secret"))
    name = service.exposure.keys.name_of(b"secret")
    ask(PATH, PLAIN, headers={"authorization": "Bearer secret"})
    ask(PATH, PLAIN, headers={"authorization": "Bearer wrong"})
    served, refused = [record for record in caplog.records if record.name == "stoker.access"]
    assert f" 127.0.0.1 {name} " in served.getMessage()
    assert (served.__dict__["fields"]["key"], served.__dict__["fields"]["address"]) == (name, "127.0.0.1")
    assert " 127.0.0.1 - " in refused.getMessage()
    assert "secret" not in caplog.text
    assert "wrong" not in caplog.text


@pytest.mark.parametrize(
    ("given", "name"), [("A.b:1", "a.b"), ("[::1]:8000", "::1"), ("a.b.", "a.b"), ("", ""), (":80", ""), ("[", "")]
)
def test_host_names(given: str, name: str) -> None:
    assert host_name(given) == name
