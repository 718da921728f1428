"""YAML with comments: a document is made of plain values, and a `Note` among a mapping's keys becomes a comment."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WIDTH = 110


@dataclass(frozen=True)
class Note:
    """A comment before the next key."""

    text: str


Document = Mapping[Any, Any]
"""Keys are strings and Notes."""


def because(text: str) -> dict[Any, Any]:
    """To be unpacked into a mapping: `{**because("why"), "key": value}`."""
    return {Note(text): None}


def noted(text: str) -> dict[Any, Any]:
    """The same, where there may be nothing to say."""
    return because(text) if text else {}


def render(documents: Iterable[Document]) -> str:
    return "---\n".join("".join(f"{line}\n" for line in _mapping(document)) for document in documents)


def plain(value: Any) -> Any:
    """The same without notes."""
    if isinstance(value, Mapping):
        return {key: plain(child) for key, child in value.items() if not isinstance(key, Note)}
    return [plain(child) for child in value] if isinstance(value, (list, tuple)) else value


def _lines(value: Any) -> list[str]:
    return list(_mapping(value) if isinstance(value, Mapping) else _sequence(value))


def _mapping(document: Document) -> Iterator[str]:
    for key, value in document.items():
        if isinstance(key, Note):
            yield from comment(key.text)
        elif _nests(value):
            yield f"{_scalar(key)}:"
            yield from (f"  {line}" for line in _lines(value))
        else:
            yield f"{_scalar(key)}: {_scalar(value)}"


def _sequence(items: Sequence[object]) -> Iterator[str]:
    for item in items:
        lines = _lines(item) if _nests(item) else [_scalar(item)]
        yield from (f"{'  ' if place else '- '}{line}" for place, line in enumerate(lines))


def comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _nests(value: object) -> bool:
    return isinstance(value, (Mapping, list, tuple)) and bool(value)


def _scalar(value: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(list(value) if isinstance(value, tuple) else value, width=1 << 30, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
