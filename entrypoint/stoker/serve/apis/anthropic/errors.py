"""Errors in Anthropic's form."""

from __future__ import annotations

import msgspec

from stoker.serve.http.errors import ApiError

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class AnthropicErrors:
    def body(self, error: ApiError, request_id: str) -> bytes:
        told = {"type": _TYPES.get(error.status, "api_error"), "message": error.message}
        return msgspec.json.encode({"type": "error", "error": told, "request_id": request_id})

    def event(self, error: ApiError, request_id: str) -> bytes:
        return b"event: error\ndata: " + self.body(error, request_id) + b"\n\n"
