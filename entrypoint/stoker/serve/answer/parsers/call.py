"""One call as it becomes known. Nothing is given out before it is sure to be a call of a tool that there is."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass, field

from stoker.serve.answer.events import CallArguments, CallStart, Event


class UnknownToolError(ValueError):
    """The text calls something that the request does not offer: it is text."""


@dataclass
class Calls:
    """The calls of one answer. `tools`: the names that may be called."""

    tools: Collection[str]
    count: int = 0
    events: list[Event] = field(default_factory=list)

    def take(self) -> list[Event]:
        taken, self.events = self.events, []
        return taken

    def begin(self) -> Call:
        return Call(self)


class Call:
    """`name` and `arguments` come in any order; what comes before the name waits for it."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._index: int | None = None
        self._waiting: list[str] = []
        self._any = False

    @property
    def known(self) -> bool:
        return self._index is not None

    def name(self, name: str) -> None:
        """UnknownToolError for one that is not offered."""
        if name not in self._calls.tools:
            raise UnknownToolError
        self._index = self._calls.count
        self._calls.count += 1
        self._calls.events.append(CallStart(self._index, f"call_{secrets.token_hex(12)}", name))
        waiting, self._waiting = self._waiting, []
        self.arguments("".join(waiting))

    def arguments(self, text: str) -> None:
        if self._index is None:
            self._waiting.append(text)
        elif text:
            self._any = True
            self._calls.events.append(CallArguments(self._index, text))

    def end(self) -> None:
        """UnknownToolError for a call without a name; one without arguments has an empty object of them."""
        if self._index is None:
            raise UnknownToolError
        if not self._any:
            self.arguments("{}")
