"""Thinking aloud, split off from the answer: `<think>...</think>` and its relatives."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.serve.events import Event, Parser, Reasoning
from stoker.serve.parsers.marks import cut


@dataclass(frozen=True)
class Thinking:
    """The marks of one family. Thinking comes first, or not at all."""

    opening: str
    closing: str

    def begun_in(self, prompt: str) -> bool | None:
        """How the prompt leaves it: True in thought, False past it, None undecided."""
        end = prompt.rstrip()
        if end.endswith(self.opening):
            return True
        return False if end.endswith(self.closing) else None


THINK = Thinking("<think>", "</think>")
MAGISTRAL = Thinking("[THINK]", "[/THINK]")
GRANITE = Thinking("Here is my thought process:", "Here is my response:")

FAMILIES = {"think": THINK, "magistral": MAGISTRAL, "granite": GRANITE}  # settings.spec lists them too


def thinking_of(template: str) -> str | None:
    """The family whose marks are in a chat template."""
    return next((name for name, marks in FAMILIES.items() if marks.closing in template), None)


class ReasoningParser:
    """`begun` as `Thinking.begun_in` has it. What comes after the thinking goes to `answer`."""

    def __init__(self, marks: Thinking, answer: Parser, begun: bool | None) -> None:
        self._marks = marks
        self._answer = answer
        self._pending = ""
        self._blank = ""
        self._state = {None: "start", True: "thinking", False: "answer"}[begun]
        self._leading = True

    @property
    def thinking(self) -> bool:
        return self._state == "thinking"

    def feed(self, text: str) -> list[Event]:
        if self._state == "answer":
            return self._answer.feed(text)
        self._pending += text
        if self._state == "start" and not self._decide():
            return []
        if self._state == "answer":
            return self._rest()
        return self._think()

    def end(self) -> list[Event]:
        pending, self._pending = self._pending, ""
        if self._state == "thinking":
            return self._thought(pending) + self._answer.end()
        return self._answer.feed(pending) + self._answer.end()

    def _decide(self) -> bool:
        """Whether the text begins with the opening mark is known."""
        beginning, mark = self._pending.lstrip(), self._marks.opening
        if beginning.startswith(mark):
            self._state = "thinking"
            self._pending = beginning[len(mark) :]
            return True
        if mark.startswith(beginning):
            return False
        self._state = "answer"
        return True

    def _rest(self) -> list[Event]:
        pending, self._pending = self._pending, ""
        return self._answer.feed(pending)

    def _think(self) -> list[Event]:
        before, mark, self._pending = cut(self._pending, (self._marks.closing,))
        events = self._thought(before)
        if mark is None:
            return events
        self._state = "answer"
        self._answer = _WithoutLeadingBlanks(self._answer)
        return events + self._rest()

    def _thought(self, text: str) -> list[Event]:
        """Without the blanks at both ends."""
        if self._leading:
            text = text.lstrip()
            self._leading = not text
        text = self._blank + text
        said = text.rstrip()
        self._blank = text[len(said) :]
        return [Reasoning(said)] if said else []


class _WithoutLeadingBlanks:
    """The blanks between the thinking and the answer belong to neither."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser
        self._begun = False

    def feed(self, text: str) -> list[Event]:
        if not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        return self._parser.feed(text)

    def end(self) -> list[Event]:
        return self._parser.end()
