"""Reasoning, split off from the answer: `<think>...</think>` and its relatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stoker.serve.answer.events import Event, Parser, Reasoning
from stoker.serve.answer.parsers.marks import cut


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


class ThinkingTokens:
    """Counts the tokens of thinking, its marks among them. `begun` as above; `decode` shows control tokens that are
    marks. `over` once nothing more can count."""

    def __init__(self, marks: Thinking, begun: bool | None, decode: Callable[[Sequence[int]], str]) -> None:
        self.count = 0
        self.over = begun is False
        self._marks = marks
        self._begun = begun
        self._decode = decode
        self._seen = ""

    def feed(self, ids: Sequence[int], text: str) -> None:
        """The next ids, and the text that they make visible."""
        before, self._seen = self._seen, self._seen + text
        if not self._begun and not self._begins():
            return
        self.count += len(ids)
        closing = self._marks.closing
        if closing not in self._seen:
            self._seen = self._seen[1 - len(closing) :] if self._begun else self._seen
            return
        self.over = True
        behind = (end for end in range(1, len(ids)) if closing in before + self._decode(ids[:end]))
        self.count -= len(ids) - next(behind, len(ids))

    def _begins(self) -> bool:
        """Whether what there is counts, so far; nothing does once it is sure that the text is no thinking."""
        beginning, mark = self._seen.lstrip(), self._marks.opening
        self._begun = beginning.startswith(mark) or None
        if not self._begun and not mark.startswith(beginning):
            self.over, self.count = True, 0
        return not self.over


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
