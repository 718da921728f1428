"""What surrounds every request: its id, the limit of its body, one line in the log, one count in the metrics."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import quote

from stoker.serve.generate.measurement import Measurement
from stoker.serve.http.asgi import App, Message, Receive, Scope, Send, header
from stoker.serve.http.error_forms import refuse
from stoker.serve.http.errors import ApiError
from stoker.serve.http.peers import address_of
from stoker.serve.operate.metrics import Metrics
from stoker.serve.operate.tracing import Tracer

logger = logging.getLogger("stoker.access")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_PROBED = ("/v1/health/", "/health", "/ping", "/metrics", "/v1/metrics")  # asked every few seconds by machines: no news
_POLLED = ("/v1/status", "/v1/plan", "/v1/models", "/v1/metadata", "/load")
_SHOWN_BODY = 64 << 10
_CLIENT_CLOSED = 499  # nginx's number for a client that left before the answer began


@dataclass
class RequestRecord:
    """What the endpoint reports about a request for the log; in `scope["state"]["record"]`."""

    id: str
    measurement: Measurement | None = None
    error: ApiError | None = None

    def measured(self, measurement: Measurement) -> None:
        self.measurement = measurement

    def refused(self, error: ApiError) -> None:
        self.error = error


class Envelope:
    """Pure ASGI. A request id that is not 1 to 128 of A-Z a-z 0-9 . _ : / + = - is replaced by one of ours."""

    def __init__(
        self,
        app: App,
        metrics: Metrics,
        *,
        max_body: int,
        endpoints: Collection[str],
        log_prompts: bool = False,
        tracer: Tracer | None = None,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body = max_body
        self._endpoints = frozenset(endpoints)
        self._log_prompts = log_prompts
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, _request_id(scope), self._max_body, keep=self._log_prompts)
        record = RequestRecord(exchange.request_id.decode())
        scope.setdefault("state", {})["record"] = record
        started = time.perf_counter()
        try:
            await self._run(scope, exchange)
        finally:
            self._tell(scope, exchange, record, time.perf_counter() - started)

    async def _run(self, scope: Scope, exchange: _Exchange) -> None:
        try:
            exchange.check_length(scope)
        except ApiError as error:
            await refuse(scope, exchange.send, error)
        else:
            await self._app(scope, exchange.receive, exchange.send)

    def _tell(self, scope: Scope, exchange: _Exchange, record: RequestRecord, seconds: float) -> None:
        path, status = scope["path"], exchange.status or _CLIENT_CLOSED
        self._metrics.http_request(path if path in self._endpoints else "other", status)
        if self._tracer is not None and not path.startswith(_PROBED):
            self._tracer.request(scope, record.id, status, seconds, record.measurement)
        level = logging.DEBUG if path.startswith(_PROBED) or _is_polling(scope, status) else logging.INFO
        if not logger.isEnabledFor(level):
            return
        fields: dict[str, object] = {
            "method": scope["method"],
            "path": path,
            "status": status,
            "seconds": round(seconds, 4),
            "request_id": record.id,
            "address": address_of(scope),
            "key": scope["state"].get("client"),
        }
        refused = ""
        if record.error is not None:
            fields |= {"code": record.error.code, "param": record.error.param}
            refused = refused_text(record.error)
        if exchange.kept:
            fields["body"] = b"".join(exchange.kept)[:_SHOWN_BODY].decode(errors="replace")
        told = ""
        if record.measurement is not None:
            fields |= _measured(record.measurement)
            told = _told(record.measurement)
        body = f" {fields['body']!r}" if "body" in fields else ""
        who = f"{fields['address']} {fields['key'] or '-'}{refused}"
        line = f"{scope['method']} {quote(path, safe='/:@')} {status} {seconds:.3f}s {who}{told} {record.id}{body}"
        logger.log(level, "%s", line, extra={"fields": fields})


class _Exchange:
    """One request's `receive` and `send`, watched. ApiError, 413, for a body over the limit."""

    def __init__(self, receive: Receive, send: Send, request_id: bytes, max_body: int, *, keep: bool) -> None:
        self.request_id = request_id
        self.status = 0
        self._receive = receive
        self._send = send
        self._limit = self._left = max_body
        self._keep = keep
        self.kept: list[bytes] = []

    def check_length(self, scope: Scope) -> None:
        length = header(scope, b"content-length")
        if length.isdigit() and int(length[:20]) > self._left:
            raise self._too_large()

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise self._too_large()
        if self._keep and message.get("body") and self._limit - self._left < 2 * _SHOWN_BODY:
            self.kept.append(message["body"])
        return message

    def _too_large(self) -> ApiError:
        return ApiError(413, f"The body is larger than {self._limit} bytes.", code="request_too_large")

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.request_id)]
        await self._send(message)


def _is_polling(scope: Scope, status: int) -> bool:
    """Whether the page at / asks again how the server is, as it does every few seconds, or loads one of its files."""
    ours = header(scope, b"sec-fetch-site") == b"same-origin"
    path = scope["path"]
    return ours and scope["method"] == "GET" and (path in _POLLED or path.startswith("/page/")) and status < 400


def refused_text(error: ApiError) -> str:
    """Which parameter is the client's to name: it is shown so that it cannot look like more of the line."""
    param = f" param={quote(error.param[:100], safe='[]')}" if error.param else ""
    return f" code={error.code}{param}"


def _measured(measurement: Measurement) -> dict[str, object]:
    first = measurement.first_token_seconds
    return {
        "prompt_tokens": measurement.prompt_tokens,
        "completion_tokens": measurement.completion_tokens,
        "queue_seconds": round(measurement.queue_seconds, 4),
        "first_token_seconds": None if first is None else round(first, 4),
    }


def _told(measurement: Measurement) -> str:
    first = measurement.first_token_seconds
    began = "" if first is None else f" first {first:.3f}s"
    tokens = f"{measurement.prompt_tokens}+{measurement.completion_tokens} tokens"
    return f" queued {measurement.queue_seconds:.3f}s{began} {tokens}"


def _request_id(scope: Scope) -> bytes:
    given = header(scope, b"x-request-id")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex.encode()
