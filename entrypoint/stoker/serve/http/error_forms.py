"""How errors are written: each API that is served has its own form, and its clients understand no other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from stoker.serve.http.asgi import Scope, Send, respond
from stoker.serve.http.errors import ApiError, ContextExceededError

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    415: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class ErrorForm(Protocol):
    def body(self, error: ApiError, request_id: str) -> bytes: ...

    def event(self, error: ApiError, request_id: str) -> bytes:
        """What ends a stream that fails."""
        ...


class OpenAiErrors:
    def body(self, error: ApiError, _: str) -> bytes:
        return error.body()

    def event(self, error: ApiError, _: str) -> bytes:
        return b"data: " + error.body() + b"\n\n"


class AnthropicErrors:
    def body(self, error: ApiError, request_id: str) -> bytes:
        told = {"type": _ANTHROPIC_TYPES.get(error.status, "api_error"), "message": _anthropic_message(error)}
        return msgspec.json.encode({"type": "error", "error": told, "request_id": request_id})

    def event(self, error: ApiError, request_id: str) -> bytes:
        return b"event: error\ndata: " + self.body(error, request_id) + b"\n\n"


def _anthropic_message(error: ApiError) -> str:
    """Agents know by Anthropic's own words that a conversation must be made shorter, and read the numbers."""
    if not isinstance(error, ContextExceededError):
        return error.message
    if error.tokens is None:
        return f"prompt is too long: {error.message}"
    return f"prompt is too long: {error.tokens} tokens > {error.limit} maximum"


class OllamaErrors:
    """A line of a stream is a document like any other."""

    def body(self, error: ApiError, _: str) -> bytes:
        return msgspec.json.encode({"error": error.message})

    def event(self, error: ApiError, request_id: str) -> bytes:
        return self.body(error, request_id) + b"\n"


_OPENAI = OpenAiErrors()
_OLLAMA = OllamaErrors()
_ANTHROPIC = AnthropicErrors()


def error_form(path: str) -> ErrorForm:
    if path.startswith("/api/"):
        return _OLLAMA
    return _ANTHROPIC if path.startswith("/v1/messages") else _OPENAI


async def refuse(scope: Scope, send: Send, error: ApiError, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Answers with the error, and reports it for the log."""
    record = scope["state"]["record"]
    record.refused(error)
    await respond(send, error.status, error_form(scope["path"]).body(error, record.id), headers=headers)
