"""A proxy between a client and the server that keeps what the client asked and what came back.

With STOKER_RECORD set, the requests are written to tests/unit/serve/recorded, cut short and without what tells of the
machine; tests/unit/serve/test_recorded.py replays them.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[1] / "unit" / "serve" / "recorded"
_HOP = {"host", "connection", "transfer-encoding", "content-length"}
_KEPT_HEADERS = {"anthropic-beta", "anthropic-version", "openai-beta"}
_LONGEST, _MOST = 60, 16
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32,}\b")
_PATH = re.compile(r"/(?:tmp|root|home|work)/[\w./-]*")


@dataclass(frozen=True)
class Exchange:
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    status: int
    warning: str


@dataclass
class Recorder:
    """Listens on `url` while it is entered; `asked` is what came by."""

    host: str
    port: int
    asked: list[Exchange] = field(default_factory=list)

    def __enter__(self) -> Recorder:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def refused(self) -> list[Exchange]:
        return [each for each in self.asked if each.status >= 400]

    def bodies(self, path: str) -> list[Any]:
        return [each.body for each in self.asked if each.path.partition("?")[0] == path]

    def write(self, name: str) -> None:
        """One of each form: requests that differ in their texts alone are the same."""
        forms = {_form(entry): entry for entry in map(_entry, reversed(self.asked)) if entry["body"] is not None}
        if not forms:
            return
        RECORDED.mkdir(exist_ok=True)
        (RECORDED / f"{name}.json").write_text(json.dumps([*reversed(forms.values())], indent=1) + "\n")


def _handler(recorder: Recorder) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self._body()
            upstream = http.client.HTTPConnection(recorder.host, recorder.port)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            upstream.request(self.command, self.path, body or None, headers)
            answer = upstream.getresponse()
            self._relay(answer)
            upstream.close()
            kept = {name.lower(): value for name, value in headers.items() if name.lower() in _KEPT_HEADERS}
            document = json.loads(body) if body else None
            warning = answer.getheader("warning") or ""
            recorder.asked.append(Exchange(self.command, self.path, kept, document, answer.status, warning))

        def _body(self) -> bytes:
            if (self.headers.get("transfer-encoding") or "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _relay(self, answer: http.client.HTTPResponse) -> None:
            """The connection's end is the answer's."""
            self.close_connection = True
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("connection", "close")
            self.end_headers()
            with suppress(OSError):  # the client has had enough
                while piece := answer.read1(65536):
                    self.wfile.write(piece)
                    self.wfile.flush()

        do_GET = do_POST = do_DELETE = do_HEAD = do_OPTIONS = forward

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _entry(exchange: Exchange) -> dict[str, Any]:
    about = {"method": exchange.method, "path": exchange.path, "headers": exchange.headers}
    return {**about, "body": _short(exchange.body), "status": exchange.status}


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return _PATH.sub("/work", _UUID.sub("0" * 32, value))[:_LONGEST]
    if isinstance(value, list):
        numbers = value and all(isinstance(each, int) for each in value)
        return [_short(each) for each in (value[:_MOST] if numbers else value)]
    return {name: _short(each) for name, each in value.items()} if isinstance(value, dict) else value


def _form(value: Any) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: value[name] if name in ("path", "type", "role") else plain(value[name]) for name in value}
        if isinstance(value, list):
            return sorted({json.dumps(plain(each), sort_keys=True) for each in value})
        return type(value).__name__

    return json.dumps(plain(value), sort_keys=True)
