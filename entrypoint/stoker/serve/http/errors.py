"""Errors of the API, in OpenAI's form.

    ApiError                       any status
    invalid(...)                   400 invalid_request_error
    too_many(...)                  429 rate_limit_error, with Retry-After
    unavailable(...)               503 service_unavailable, with Retry-After
    overloaded(...)                the same, for a queue that is too long

`from_stoker` turns what an engine raises into one of them.
"""

from __future__ import annotations

import msgspec

from stoker.errors import StokerError
from stoker.launch.generation import EngineDiedError, RequestRefusedError

RETRY_AFTER_SECONDS = 5

CODES = {
    "invalid_json": "400: the body is not JSON (or not UTF-8)",
    "too_many_values": "400: the body has more lists, objects or values in it than a request can mean",
    "invalid_type": "400: a parameter has the wrong type",
    "invalid_value": "400: a parameter is out of range or contradicts another",
    "missing_required_parameter": "400: a parameter is missing",
    "unknown_parameter": "400: no such parameter",
    "unsupported_parameter": "400: an OpenAI parameter, or a value of one, that is not supported yet",
    "unsupported_guide": "400: the form that the text must have is broken, or not one that can be kept to exactly",
    "context_length_exceeded": "400: prompt and completion together do not fit the context",
    "chat_template_missing": "400: the model has no chat template",
    "request_refused": "400: the engine refused this request",
    "wrong_endpoint": "400: the model is not for this; the message says what it is for",
    "invalid_api_key": "401: no API key, or one that is not known here",
    "host_not_allowed": "403: a name that is not the server's, as pages of other sites would use; see --allowed-hosts",
    "origin_not_allowed": "403: a page of another site; see --cors-origins",
    "model_not_found": "404: no such model; the message lists those served",
    "response_not_found": "404: no such response is stored for this client",
    "not_found": "404: no such path",
    "method_not_allowed": "405: the path is right, the method is not",
    "invalid_http": "400: what came is not HTTP/1.1",
    "header_timeout": "408: the headers did not arrive in time",
    "header_too_large": "431: the headers are more or larger than the limit",
    "upload_timeout": "408: the body did not arrive in time",
    "request_too_large": "413: the body is larger than the limit",
    "unsupported_media_type": "415: the body's Content-Type is not application/json",
    "rate_limit_exceeded": "429: the queue is full of this client's requests; see Retry-After",
    "internal_error": "500: a fault of the server; its log has the details",
    "not_ready": "503: the model is still being prepared; see /v1/health/startup",
    "draining": "503: the server is going down and takes no new requests",
    "overloaded": "503: the queue is full of others' requests, or longer than this request may take; see Retry-After",
    "engine_died": "503: the engine process exited under the request and is being restarted",
    "deadline_exceeded": "504: the answer was not finished in the time that the request may take",
}


class ApiError(Exception):
    """`param` names the offending parameter, as `messages[0].content`; `code` is one of CODES.

    `retry_after` in seconds, for 429 and 503.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.retry_after = retry_after

    def body(self) -> bytes:
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})

    def headers(self) -> list[tuple[bytes, bytes]]:
        if self.status not in (429, 503):
            return []
        return [(b"retry-after", b"%d" % (self.retry_after or RETRY_AFTER_SECONDS))]


class ContextExceededError(ApiError):
    """400. `tokens` of the prompt alone, None where they were not counted or are not to blame; `limit` for them."""

    def __init__(self, message: str, param: str, tokens: int | None, limit: int) -> None:
        super().__init__(400, message, param=param, code="context_length_exceeded")
        self.tokens = tokens
        self.limit = limit


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    return ApiError(400, message, param=param, code=code)


def unsupported(param: str, message: str = "") -> ApiError:
    text = message or f"Parameter '{param}' is not supported yet with this value; leave it out."
    return invalid(text, param, "unsupported_parameter")


def unavailable(message: str, code: str) -> ApiError:
    return ApiError(503, message, kind="service_unavailable", code=code)


def overloaded(message: str, retry_after: int | None) -> ApiError:
    return ApiError(503, message, kind="service_unavailable", code="overloaded", retry_after=retry_after)


def too_many(message: str, retry_after: int | None) -> ApiError:
    return ApiError(429, message, kind="rate_limit_error", code="rate_limit_exceeded", retry_after=retry_after)


def too_slow(seconds: float) -> ApiError:
    text = f"The answer was not finished within {seconds:g} s."
    return ApiError(504, text, kind="timeout_error", code="deadline_exceeded")


def internal() -> ApiError:
    return ApiError(
        500, "The server failed on this request; its log has the details.", kind="server_error", code="internal_error"
    )


def from_stoker(error: StokerError) -> ApiError:
    if isinstance(error, RequestRefusedError):
        return invalid(str(error), code="request_refused")
    if isinstance(error, EngineDiedError):
        return unavailable(str(error), "engine_died")
    return internal()
