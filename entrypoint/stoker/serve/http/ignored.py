"""What of a request is passed over: unknown fields, and parameters that have no effect here.

The answer's `Warning` header names them, unless the server is told to refuse them (`--unknown-fields reject`).
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

from stoker.serve.http.errors import invalid, unsupported

_NAMED, _CHARACTERS = 8, 100
MOST_UNKNOWN = 1000


@dataclass
class Ignored:
    """Of one request."""

    reject: bool = False
    names: list[str] = field(default_factory=list)

    @property
    def warning(self) -> bytes:
        """The value of the header, in the form of RFC 7234."""
        shown = ", ".join(_plain(name) for name in self.names[:_NAMED])
        more = f" and {len(self.names) - _NAMED} more" if len(self.names) > _NAMED else ""
        return f'299 stoker "ignored: {shown}{more}"'.encode()


_current: ContextVar[Ignored] = ContextVar("ignored")


def begin(*, reject: bool) -> Ignored:
    """For the request that the running task answers."""
    ignored = Ignored(reject)
    _current.set(ignored)
    return ignored


def rejects_unknown() -> bool:
    return _now().reject


def ignore_unknown(name: str) -> None:
    """ApiError where they are refused, and beyond so many."""
    if rejects_unknown() or len(_now().names) >= MOST_UNKNOWN:
        text = f"Unrecognized request argument supplied: {name}"
        raise invalid(text[:200], name[:200], "unknown_parameter")
    _now().names.append(name)


def ignore_parameter(name: str, why: str) -> None:
    """What could only be advice to the model. ApiError with the reason where such is refused."""
    if rejects_unknown():
        raise unsupported(name, why)
    _now().names.append(name)


def _now() -> Ignored:
    """Outside a request (a translation that is tested alone) everything unknown is refused."""
    return _current.get(Ignored(reject=True))


def _plain(name: str) -> str:
    kept = "".join(each if each.isascii() and each.isprintable() and each not in '"\\' else "?" for each in name)
    return kept[:_CHARACTERS]
