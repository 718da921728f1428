"""Calls of tools in a model's text: where they begin and end, and what of the text is none."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from stoker.serve.answer.events import Event, Text
from stoker.serve.answer.parsers.call import Call, Calls, UnknownToolError
from stoker.serve.answer.parsers.json_scan import NotACallError
from stoker.serve.answer.parsers.marks import cut

_BETWEEN = " \t\r\n,;"


class Reader(Protocol):
    """Reads one call; `at` is where in the last text it found that it is none."""

    at: int

    def feed(self, text: str) -> str | None: ...


@dataclass(frozen=True)
class Form:
    """How a family writes its calls. `marks` begin them and `ends` follow them; where `bare`, they may also be the
    whole text. `begins` are the characters that a call can begin with."""

    marks: tuple[str, ...]
    ends: tuple[str, ...]
    bare: tuple[str, ...]
    begins: Callable[[str], bool]
    reader: Callable[[Call], Reader]


class ToolParser:
    """`within`: the text begins behind a mark."""

    def __init__(self, form: Form, tools: Collection[str], *, within: bool = False) -> None:
        self._form = form
        self._calls = Calls(tools)
        self._events: list[Event] = []
        self._pending = ""
        self._blank = ""
        self._raw: list[str] = []
        self._call: Call | None = None
        self._reader: Reader | None = None
        self._begun = False
        self._behind_call = False
        self._work: Callable[[], bool] = self._between if within else self._text

    def feed(self, text: str) -> list[Event]:
        self._pending += text
        while self._work():
            pass
        return self._taken()

    def end(self) -> list[Event]:
        """What may still have become a call is text."""
        if self._call is None or not self._call.known:
            self._say("".join(self._raw) + self._pending)
        if not self._calls.count:
            self._events.append(Text(self._blank)) if self._blank else None
        self._pending, self._raw = "", []
        return self._taken()

    def _taken(self) -> list[Event]:
        events, self._events = self._events + self._calls.take(), []
        return events

    def _say(self, text: str) -> None:
        """Blanks wait for something to follow: those around calls belong to nobody."""
        text = self._blank + text
        if self._behind_call:
            text = text.lstrip()
            self._behind_call = not text
        said = text.rstrip()
        self._blank = text[len(said) :]
        if said:
            self._begun = True
            self._events += [*self._calls.take(), Text(said)]

    def _text(self) -> bool:
        """Each state returns whether there is more to do with what is there."""
        if not self._begun and self._form.bare:
            return self._first()
        before, mark, self._pending = cut(self._pending, self._form.marks)
        self._say(before)
        if mark is None:
            return False
        self._raw = [mark]
        self._work = self._between
        return True

    def _first(self) -> bool:
        """At the beginning of a text that may be a call as a whole."""
        beginning = self._pending.lstrip()
        if not beginning:
            return False
        if beginning.startswith(self._form.bare):
            self._blank, self._pending, self._raw = "", beginning, []
            self._work = self._between
        self._begun = True
        return True

    def _between(self) -> bool:
        """Behind a mark or a call: another call, the end, or text."""
        rest = self._pending.lstrip(_BETWEEN)
        self._skip(len(self._pending) - len(rest))
        marks = (*self._form.ends, *self._form.marks)
        if not rest or (any(mark.startswith(rest) for mark in marks) and rest not in marks):
            return False
        for mark in marks:
            if rest.startswith(mark):
                return self._pass(mark)
        if rest[0] in "[]":
            return self._skip(1)
        if self._form.begins(rest[0]):
            self._call = self._calls.begin()
            self._reader = self._form.reader(self._call)
            self._work = self._read
            return True
        return self._give_up(0)

    def _skip(self, count: int) -> bool:
        self._raw.append(self._pending[:count])
        self._pending = self._pending[count:]
        return True

    def _pass(self, mark: str) -> bool:
        self._skip(len(mark))
        if mark in self._form.ends:
            if self._call is not None:  # calls were read: the mark is no text
                self._raw = []
            self._work = self._after
        return True

    def _after(self) -> bool:
        """Behind an end: text again, in which marks may come."""
        self._say("".join(self._raw))
        self._raw = []
        self._call = None
        self._begun = True
        self._work = self._text
        return True

    def _read(self) -> bool:
        assert self._reader is not None
        assert self._call is not None
        text = self._pending
        try:
            rest = self._reader.feed(text)
        except (NotACallError, UnknownToolError):
            return self._give_up(self._reader.at)
        if self._call.known:
            self._events += self._calls.take()
            self._raw = []
            self._blank = ""
            self._behind_call = True
        if rest is None:
            self._pending = ""
            if not self._call.known:
                self._raw.append(text)
            return False
        self._pending = rest
        self._work = self._between
        return True

    def _give_up(self, at: int) -> bool:
        """Up to there it was no call after all, but what is known of one stays."""
        text, self._pending = self._pending[:at], self._pending[at:]
        raw, self._raw = "".join(self._raw) + text, []
        if self._reader is None or self._call is None or not self._call.known:
            self._say(raw)
        self._call = None
        self._reader = None
        self._begun = True
        self._work = self._text
        return True
