"""Finding stop strings in text that arrives in pieces.

An Aho-Corasick automaton over all stop strings: one state, whose depth is the length of the longest end of the text
so far that may still become a stop string, so exactly that much is held back. Linear in the text.
The stop string that is complete first ends the text; of several that end together, the longest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class StopMatcher:
    """`found` is the stop string that ended the text; `keep`: it is part of the text."""

    def __init__(self, stops: Sequence[str], *, keep: bool = False) -> None:
        self._keep = keep
        self._next: list[dict[str, int]] = [{}]
        self._depth = [0]
        self._matched = [0]
        for stop in stops:
            self._insert(stop)
        self._fall = [0] * len(self._next)
        self._link()
        self._state = 0
        self._held = ""
        self.found: str | None = None

    def _insert(self, stop: str) -> None:
        state = 0
        for character in stop:
            if character not in self._next[state]:
                self._next[state][character] = len(self._next)
                self._next.append({})
                self._depth.append(self._depth[state] + 1)
                self._matched.append(0)
            state = self._next[state][character]
        self._matched[state] = len(stop)

    def _link(self) -> None:
        """Breadth first: where to fall back to, and the longest stop string that ends in each state."""
        queue = deque(self._next[0].values())
        while queue:
            state = queue.popleft()
            for character, child in self._next[state].items():
                self._fall[child] = self._step(self._fall[state], character)
                self._matched[child] = self._matched[child] or self._matched[self._fall[child]]
                queue.append(child)

    def _step(self, state: int, character: str) -> int:
        following = self._next
        while character not in following[state]:
            if state == 0:
                return 0
            state = self._fall[state]
        return following[state][character]

    def feed(self, text: str) -> tuple[str, bool]:
        """The text that is now sure not to belong to a stop string, and whether one was found (then it is the last)."""
        state, pending = self._state, self._held + text
        offset = len(self._held)
        for index, character in enumerate(text, offset + 1):
            state = self._step(state, character)
            if self._matched[state]:
                begin = index - self._matched[state]
                self.found = pending[begin:index]
                return pending[: index if self._keep else begin], True
        keep = len(pending) - self._depth[state]
        self._state, self._held = state, pending[keep:]
        return pending[:keep], False

    def flush(self) -> str:
        """What was held back, once the text has ended."""
        held, self._held, self._state = self._held, "", 0
        return held
