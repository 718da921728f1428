"""How errors are written: each API that is served has its own form, and its clients understand no other."""

from __future__ import annotations

from typing import Protocol

from stoker.serve.apis.anthropic.errors import AnthropicErrors
from stoker.serve.http.errors import ApiError


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


_OPENAI = OpenAiErrors()
_ANTHROPIC = AnthropicErrors()


def error_form(path: str) -> ErrorForm:
    return _ANTHROPIC if path.startswith("/v1/messages") else _OPENAI
