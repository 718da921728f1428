"""A server as a chat sees it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stoker.errors import ServerError, ServerUnreachableError, UsageError
from stoker.servers.endpoint import Piece, endpoint_at

EVENTS = [
    {"choices": [{"delta": {"role": "assistant"}}]},
    {"choices": [{"delta": {"reasoning_content": "hm"}}]},
    {"choices": [{"delta": {"content": "yes"}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"completion_tokens": 2}},
]


class Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/cut"):
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            return
        self._send(200, b'{"data": [{"id": "demo"}]}')

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != "Bearer k":
            self._send(401, b'{"error": {"message": "no key"}}')
        elif body["model"] == "fails":
            self._send(200, b'data: {"error": {"message": "the engine exited"}}\n\n')
        else:
            assert body["stream"]
            self._send(
                200, b"".join(b"data: %s\n\n" % json.dumps(each).encode() for each in EVENTS) + b"data: [DONE]\n"
            )

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_answer_comes_in_pieces(url: str) -> None:
    endpoint = endpoint_at(f"{url}/v1/", "k")
    assert endpoint.models() == ("demo",)
    pieces = list(endpoint.answer({"model": "demo", "messages": []}))
    assert pieces == [Piece(), Piece(reasoning="hm"), Piece("yes", finish="stop"), Piece(tokens=2)]


def test_what_the_server_refuses_is_told_in_its_words(url: str) -> None:
    with pytest.raises(ServerError, match="no key.*--api-key"):
        list(endpoint_at(url).answer({"model": "demo"}))
    with pytest.raises(ServerError, match="the engine exited"):
        list(endpoint_at(url, "k").answer({"model": "fails"}))


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://127.0.0.1..:1", "http://a..b"])
def test_nothing_at_an_address_is_told(address: str) -> None:
    with pytest.raises(ServerUnreachableError, match="does not answer"):
        endpoint_at(address).models()


def test_an_answer_that_is_cut_off_is_told(url: str) -> None:
    with pytest.raises(ServerUnreachableError, match="does not answer"):
        endpoint_at(f"{url}/cut").models()


@pytest.mark.parametrize("url", ["http://", "ftp://host", "http://host:99999", "http://[::1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not the URL of a server"):
        endpoint_at(url)
