"""`stoker health`: against a server that says what it is told to."""

import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator

import pytest

from stoker import cli


class _Answer(http.server.BaseHTTPRequestHandler):
    status, body = 200, b""

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/v1/health/ready" else 404)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


class _Ipv6(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


@contextlib.contextmanager
def _served(kind: type[http.server.ThreadingHTTPServer], host: str) -> Iterator[int]:
    with kind((host, 0), _Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def port() -> Iterator[int]:
    with _served(http.server.ThreadingHTTPServer, "127.0.0.1") as served:
        yield served


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (200, b'{"ready": true, "phase": "ready"}', 0, "ready\n"),
        (503, b'{"ready": false, "phase": "building"}', 1, "building\n"),
        (200, b"a page of something else", 1, "no server answers"),
        (200, b"[1]", 1, "no server answers"),
    ],
)
def test_health_is_the_servers_readiness(port, monkeypatch, capsys, status, body, code, said) -> None:
    monkeypatch.setattr(_Answer, "status", status)
    monkeypatch.setattr(_Answer, "body", body)
    monkeypatch.setenv("STOKER_PORT", str(port))
    assert cli.run(["health"]) == code
    assert capsys.readouterr().out.startswith(said)
    assert cli.run(["health", "--port", str(port)]) == code


def test_health_without_a_server_says_so(monkeypatch, capsys) -> None:
    monkeypatch.setenv("STOKER_PORT", "1")
    assert cli.run(["health"]) == 1
    assert "no server answers on port 1" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--port"], ["--port", "many"], ["demo"], ["--host"], ["demo", "--host"]])
def test_health_refuses_what_it_does_not_take(arguments: list[str], capsys) -> None:
    assert cli.run(["health", *arguments]) == 64
    assert capsys.readouterr().err.startswith("error: ")


def test_a_kubernetes_service_link_is_no_port(monkeypatch, capsys) -> None:
    monkeypatch.setenv("STOKER_PORT", "tcp://10.0.0.1:8000")
    cli.run(["health"])
    assert "tcp" not in capsys.readouterr().out


@pytest.mark.parametrize("host", ["127.0.0.2", "127.9.8.7", "0.0.0.0", "::1", "::"])
@pytest.mark.parametrize("told", ["flag", "variable", "nothing", "another"])
def test_health_asks_the_address_that_the_server_listens_on(monkeypatch, capsys, host: str, told: str) -> None:
    monkeypatch.setattr(_Answer, "body", b'{"ready": true, "phase": "ready"}')
    kind = _Ipv6 if ":" in host else http.server.ThreadingHTTPServer
    if told == "variable":
        monkeypatch.setenv("STOKER_HOST", host)
    if told == "another":
        monkeypatch.setenv("STOKER_HOST", "0.0.0.0")
    try:
        served = contextlib.ExitStack()
        port = served.enter_context(_served(kind, host))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with served:
        assert cli.run(["health", "--port", str(port), *(["--host", host] if told == "flag" else [])]) == 0
    assert capsys.readouterr().out == "ready\n"


def test_health_at_an_address_that_is_named_asks_no_other(monkeypatch, port: int, capsys) -> None:
    monkeypatch.setattr(_Answer, "body", b'{"ready": true, "phase": "ready"}')
    assert cli.run(["health", "--host", "127.0.0.3", "--port", str(port)]) == 1
    assert f"127.0.0.3:{port}" in capsys.readouterr().out
