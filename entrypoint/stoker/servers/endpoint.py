"""A server's OpenAI API over HTTP: its models, and answers as they come."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from stoker.errors import ServerError, ServerUnreachableError, UsageError
from stoker.json_text import parse_json
from stoker.settings.layers import Settings

_PATIENCE_SECONDS = 10.0
_MODELS = "/v1/models"
_COMPLETIONS = "/v1/chat/completions"


@dataclass(frozen=True)
class Piece:
    """What one event adds to an answer. `finish` and `tokens` (of the answer) come last, and only once."""

    text: str = ""
    reasoning: str = ""
    finish: str = ""
    tokens: int = 0


@dataclass(frozen=True)
class Endpoint:
    """`url` is the server's, without /v1. `trusting`: whatever its certificate says, as for this machine's own.

    ServerUnreachableError where nothing answers, ServerError for what the server refuses.
    """

    url: str
    key: str = ""
    trusting: bool = False

    def document(self, path: str) -> dict[str, Any]:
        """What GET answers, one object."""
        with closing(self._connection(_PATIENCE_SECONDS)) as connection:
            answer = self._asked(connection, "GET", path, None)
            found = _object(self._whole(answer))
        _check(answer.status, found)
        return found

    def models(self) -> tuple[str, ...]:
        return tuple(str(card["id"]) for card in self.document(_MODELS).get("data", ()))

    def answer(self, body: Mapping[str, Any]) -> Iterator[Piece]:
        """The answer of /v1/chat/completions, as it comes. Closing the iterator cancels the request."""
        text = json.dumps({**body, "stream": True, "stream_options": {"include_usage": True}}).encode()
        with closing(self._connection(None)) as connection:
            response = self._asked(connection, "POST", _COMPLETIONS, text)
            with closing(response):
                if response.status != 200:
                    _check(response.status, _object(self._whole(response)))
                yield from _pieces(self._lines(response))

    def _whole(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def _lines(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        try:
            yield from response
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def _asked(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None
    ) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        try:
            connection.request(method, urlsplit(self.url).path + path, body, headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # no name of a host
            raise self._unreachable(error) from error

    def _connection(self, timeout: float | None) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port
        if parts.scheme != "https":
            return http.client.HTTPConnection(host, port, timeout=timeout)
        context = ssl._create_unverified_context() if self.trusting else ssl.create_default_context()  # noqa: S323
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)

    def _unreachable(self, error: Exception) -> ServerUnreachableError:
        remedy = "check the address, and `stoker ps` for the servers of this machine"
        return ServerUnreachableError(f"{self.url} does not answer", why=str(error), remedy=remedy)


def endpoint_at(url: str, key: str = "") -> Endpoint:
    """`url` may end in /v1 or not. UsageError for one that is no address of a server."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(f"{url!r} is not the URL of a server", remedy="as in http://127.0.0.1:8000")
    return Endpoint(url.rstrip("/").removesuffix("/v1"), key)


def key_of(settings: Settings) -> str:
    """One of the keys of a server, which are given between commas: any of them will do. Empty where none is."""
    return str(settings["api-key"].value or "").split(",")[0].strip()


def _check(status: int, found: Mapping[str, Any]) -> None:
    if status == 200:
        return
    error = found.get("error")
    message = error.get("message", "") if isinstance(error, Mapping) else str(error or "")
    remedy = "give its key: --api-key, or STOKER_API_KEY" if status == 401 else ""
    raise ServerError(message or f"the server answered with status {status}", remedy=remedy)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = parse_json(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _pieces(lines: Iterable[bytes]) -> Iterator[Piece]:
    """Of server-sent events; ServerError for one that tells of a failure."""
    for line in lines:
        if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
            continue
        event = _object(line[len(b"data: ") :])
        if "error" in event:
            _check(500, event)
        usage, choices = event.get("usage") or {}, event.get("choices") or [{}]
        delta = choices[0].get("delta") or {}
        yield Piece(
            text=delta.get("content") or "",
            reasoning=delta.get("reasoning_content") or delta.get("reasoning") or "",
            finish=choices[0].get("finish_reason") or "",
            tokens=int(usage.get("completion_tokens") or 0),
        )
