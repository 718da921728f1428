"""How a step reports what it is doing, without knowing who listens (a terminal, a log, /v1/health/startup)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

PHASES = (
    "starting",
    "probing",
    "resolving",
    "downloading",
    "planning",
    "tuning",
    "building",
    "loading",
    "warming",
    "ready",
    "draining",
    "failed",
)


class Progress(Protocol):
    """`phase` opens a phase of PHASES; `advance` reports the open phase's state; `note` is one line for people;
    `expect` says how many seconds phases are likely to take, by what they took on this machine before."""

    def phase(self, name: str, detail: str = "") -> None: ...

    def advance(self, done: int, total: int, unit: str = "bytes") -> None: ...

    def note(self, text: str) -> None: ...

    def expect(self, seconds: Mapping[str, float]) -> None: ...


class Silent:
    """Listens to nothing: for tests and for steps run on their own."""

    def phase(self, name: str, detail: str = "") -> None: ...

    def advance(self, done: int, total: int, unit: str = "bytes") -> None: ...

    def note(self, text: str) -> None: ...

    def expect(self, seconds: Mapping[str, float]) -> None: ...


class Tee:
    """Tells several listeners the same."""

    def __init__(self, *listeners: Progress) -> None:
        self._listeners = listeners

    def phase(self, name: str, detail: str = "") -> None:
        for each in self._listeners:
            each.phase(name, detail)

    def advance(self, done: int, total: int, unit: str = "bytes") -> None:
        for each in self._listeners:
            each.advance(done, total, unit)

    def note(self, text: str) -> None:
        for each in self._listeners:
            each.note(text)

    def expect(self, seconds: Mapping[str, float]) -> None:
        for each in self._listeners:
            each.expect(seconds)
