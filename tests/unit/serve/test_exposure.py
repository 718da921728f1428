"""What the server shows to whom: TLS, other sites' pages, a port for operators, the log."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trustme
import uvloop
from httpx import ASGITransport
from tests.waiting import SECONDS

from stoker.errors import UsageError
from stoker.serve.http import watched
from stoker.serve.http.app import create_app, create_management_app
from stoker.serve.http.errors import invalid
from stoker.serve.http.keys import Keys
from stoker.serve.http.middleware import refused_text
from stoker.serve.http.server import HttpServer, bind
from stoker.serve.http.tls import TlsFiles, reloading_context
from stoker.serve.operate.service import Exposure, Service

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask


PLAIN: dict[str, Any] = {"model": "demo", "prompt": "a secret", "max_tokens": 2}
LIVE = "/v1/health/live"


class Authority:
    """A CA, and what it issues, written where the server reads it."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.directory = directory
        self.files = TlsFiles(directory / "cert.pem", directory / "key.pem")
        self.issue()

    def issue(self) -> None:
        issued = self.ca.issue_cert("127.0.0.1", "localhost")
        self._write(self.files.key, issued.private_key_pem.bytes())
        self._write(self.files.certificate, b"".join(blob.bytes() for blob in issued.cert_chain_pems))

    def trust(self, path: Path) -> Path:
        self._write(path, self.ca.cert_pem.bytes())
        return path

    def client_context(self, trusted: trustme.CA | None = None, *, certificate: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context()
        (trusted or self.ca).configure_trust(context)
        if certificate:
            self.ca.issue_cert("client").configure_cert(context)
        return context

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        new = path.with_suffix(".new")
        new.write_bytes(content)
        new.replace(path)


@pytest.fixture(autouse=True)
def look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "CHECK_SECONDS", 0.0)


@asynccontextmanager
async def serving(app: Any, files: TlsFiles) -> AsyncIterator[str]:
    server = HttpServer(app, bind("127.0.0.1", 0), reloading_context(files))
    task = asyncio.create_task(server.serve())
    try:
        yield f"https://127.0.0.1:{server.port}"
    finally:
        await server.stop()
        await task


async def status(url: str, context: ssl.SSLContext) -> int | str:
    """Each call is a connection of its own; the exception's name where there is none."""
    try:
        async with httpx.AsyncClient(verify=context, timeout=SECONDS) as client:
            return (await client.get(url + LIVE)).status_code
    except httpx.HTTPError as error:
        return type(error).__name__


def test_a_certificate_that_is_renewed_is_served_without_a_restart(service: Service, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    newer = trustme.CA()

    async def run() -> None:
        async with serving(create_app(service), authority.files) as url:
            old, new = authority.client_context(), authority.client_context(newer)
            assert (await status(url, old), await status(url, new)) == (200, "ConnectError")
            authority.ca = newer
            authority.issue()
            assert (await status(url, old), await status(url, new)) == ("ConnectError", 200)
            authority.files.certificate.write_text("broken")
            assert await status(url, new) == 200, "the one in use stays until there is a better one"

    uvloop.run(run())


def test_clients_need_a_certificate_of_the_ca_of_now(service: Service, tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path / "..")
    files = TlsFiles(authority.files.certificate, authority.files.key, authority.trust(tmp_path / "ca.pem"))
    authority.issue()

    async def run() -> None:
        async with serving(create_app(service), files) as url:
            assert await status(url, authority.client_context(certificate=True)) == 200
            assert await status(url, authority.client_context()) in ("ReadError", "RemoteProtocolError", "ConnectError")
            stranger = authority.client_context()
            other.ca.issue_cert("client").configure_cert(stranger)
            assert await status(url, stranger) != 200
            other.trust(tmp_path / "ca.pem")
            assert await status(url, stranger) == 200
            assert await status(url, authority.client_context(certificate=True)) != 200

    uvloop.run(run())


@pytest.mark.parametrize("content", [None, "broken"])
def test_tls_files_that_cannot_be_used_are_a_usage_error(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "cert.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=r"cert\.pem"):
        reloading_context(TlsFiles(file, file))


def preflight(ask: Ask, origin: str) -> Any:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    headers["access-control-request-headers"] = "authorization,content-type"
    return ask("/v1/completions", method="OPTIONS", headers=headers)


def test_only_the_sites_that_are_named_may_use_the_api_from_a_browser(ask: Ask, service: Service) -> None:
    assert "access-control-allow-origin" not in ask(LIVE, headers={"origin": "https://a.example"}).headers
    service.exposure = Exposure(cors_origins=("https://a.example",), keys=Keys("first"))
    assert preflight(ask, "https://a.example").status == 200
    assert preflight(ask, "https://b.example").status == 400
    refused = ask("/v1/completions", PLAIN, headers={"origin": "https://a.example"})
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, "https://a.example")


def test_management_apart_takes_the_metrics_away_from_the_api(ask: Ask, service: Service) -> None:
    service.exposure = Exposure(management_apart=True, keys=Keys("first"))
    assert ask("/metrics", headers={"x-api-key": "first"}).status == 404

    async def run() -> list[int]:
        transport = ASGITransport(create_management_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            paths = ("/metrics", "/v1/health/ready", "/v1/models", "/docs")
            return [(await client.get(path)).status_code for path in paths]

    assert asyncio.run(run()) == [200, 200, 404, 404]


@pytest.mark.parametrize("asked", [False, True])
def test_the_log_shows_what_was_asked_only_when_told_to(
    ask: Ask, service: Service, caplog: pytest.LogCaptureFixture, asked: bool
) -> None:
    service.exposure = Exposure(log_prompts=asked)
    caplog.set_level(logging.INFO, "stoker.access")
    ask("/v1/completions", PLAIN)
    assert ("a secret" in caplog.text) == asked


def test_the_log_says_what_was_refused_and_why(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stoker.access")
    ask("/v1/completions", {**PLAIN, "temperature": 9})
    ask("/v1/nothing")
    refused, unknown = [record for record in caplog.records if record.name == "stoker.access"]
    assert " code=invalid_value param=temperature " in refused.getMessage()
    fields = vars(refused)["fields"]
    assert (fields["code"], fields["param"]) == ("invalid_value", "temperature")
    assert " code=not_found " in unknown.getMessage()


def test_the_pages_own_polling_is_no_news(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """What a program or a person asks is."""
    caplog.set_level(logging.INFO, "stoker.access")
    ask("/v1/status", headers={"sec-fetch-site": "same-origin"})
    assert caplog.records == []
    ask("/v1/status")
    assert "GET /v1/status 200" in caplog.text


def test_what_a_client_names_cannot_look_like_more_of_the_line() -> None:
    error = invalid("no", "a b\nINFO code=ok", "unknown_parameter")
    assert refused_text(error) == " code=unknown_parameter param=a%20b%0AINFO%20code%3Dok"
