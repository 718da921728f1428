"""What `stoker doctor` says of the hub and the token, with a hub in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stoker.resolve.hub_check import check_hub


class Server(ThreadingHTTPServer):
    """`state`: how it answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hub)
        self.state: set[str] = set()


class Hub(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        key = self.headers["Authorization"]
        status = 200 if key in (None, "Bearer hf_good") else 401
        self.send_response(503 if "down" in self.server.state else status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """What is put into the set changes how it answers."""
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
        yield server.state
        server.shutdown()


def found(*, offline: bool = False) -> dict[str, tuple[str, str]]:
    return {check.name: (check.status, check.found) for check in check_hub(offline=offline)}


def test_a_hub_that_answers_is_well_and_needs_no_token(hub: set[str]) -> None:
    assert found()["model hub"][0] == "ok"
    assert found()["hub token"] == ("ok", "none; public models only. HF_TOKEN gives access to others")


@pytest.mark.parametrize(("token", "status"), [("hf_good", "ok"), ("hf_bad", "warning")])
def test_a_token_is_tried(hub: set[str], monkeypatch: pytest.MonkeyPatch, token: str, status: str) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: token)
    assert (found()["model hub"][0], found()["hub token"][0]) == ("ok", status)


def test_a_hub_that_does_not_answer_is_a_warning(hub: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("down")
    assert found()["model hub"][0] == "warning"
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert "does not answer" in found()["model hub"][1]


def test_offline_nothing_is_asked(hub: set[str]) -> None:
    assert found(offline=True) == {"model hub": ("ok", "not tested: offline mode")}
