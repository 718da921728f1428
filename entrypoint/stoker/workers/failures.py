"""Errors on their way from one process to another: those that a client is told of stay what they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stoker.errors import StokerError
from stoker.launch.generation import EngineDiedError, RequestRefusedError
from stoker.serve.http.errors import ApiError

_KINDS: dict[str, type[StokerError]] = {"died": EngineDiedError, "refused": RequestRefusedError, "error": StokerError}


def told(error: Exception) -> list[Any]:
    if isinstance(error, ApiError):
        return ["api", error.status, error.message, error.kind, error.param, error.code, error.retry_after]
    for name, kind in _KINDS.items():
        if isinstance(error, kind):
            return [name, error.what, error.why, error.remedy]
    return ["fault", repr(error)]


def failure_of(packed: Sequence[Any]) -> Exception:
    kind, *fields = packed
    if kind == "api":
        status, message, form, param, code, retry_after = fields
        return ApiError(status, message, kind=form, param=param, code=code, retry_after=retry_after)
    if kind in _KINDS:
        what, why, remedy = fields
        return _KINDS[kind](what, why=why, remedy=remedy)
    return RuntimeError(f"in another process: {fields[0]}")
