"""Answers of the endpoints that are asked seldom."""

from __future__ import annotations

import msgspec
from fastapi import Request, Response
from starlette.exceptions import HTTPException

from stoker.serve.http.error_forms import error_form
from stoker.serve.http.errors import RETRY_AFTER_SECONDS, ApiError, internal


def json_response(document: object, status: int = 200) -> Response:
    headers = {"retry-after": str(RETRY_AFTER_SECONDS)} if status == 503 else None
    return Response(msgspec.json.encode(document), status, headers, "application/json")


def _body(request: Request, error: ApiError) -> bytes:
    """In the form of the API that the path is of."""
    record = getattr(request.state, "record", None)
    if record:
        record.refused(error)
    return error_form(request.url.path).body(error, record.id if record else "")


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own refusals: no such path, not this method."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_value")
    text = f"{error.detail}: {request.method} {request.url.path[:200]}"
    return Response(
        _body(request, ApiError(error.status_code, text, code=code)),
        error.status_code,
        error.headers,
        "application/json",
    )


async def on_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    headers = {name.decode(): value.decode() for name, value in error.headers()}
    return Response(_body(request, error), error.status, headers, "application/json")


async def on_fault(request: Request, _: Exception) -> Response:
    """The exception goes on to the server, which logs it."""
    return Response(_body(request, internal()), 500, media_type="application/json")
