"""`stoker health`: against a server that says what it is told to."""

import http.server
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


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


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


@pytest.mark.parametrize("arguments", [["--port"], ["--port", "many"], ["demo"]])
def test_health_refuses_what_it_does_not_take(arguments: list[str], capsys) -> None:
    assert cli.run(["health", *arguments]) == 64
    assert capsys.readouterr().err.startswith("error: ")


def test_a_kubernetes_service_link_is_no_port(monkeypatch, capsys) -> None:
    monkeypatch.setenv("STOKER_PORT", "tcp://10.0.0.1:8000")
    cli.run(["health"])
    assert "tcp" not in capsys.readouterr().out
