"""Which request an engine may have died of: the one whose grammar no text has ever been finished under.

A grammar that takes an engine down would do so again, and whoever sent it will send it again: it is refused from then
on. Where several new ones were in flight none is blamed, nor where the only ones were followed before.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from stoker.launch.generation import EngineDiedError, Generation, RequestRefusedError

_REMEMBERED = 4096
_RECENT_SECONDS = 15.0


@dataclass
class Verdicts:
    """What is known of grammars, by their digests: those that a text was finished under, and those that are refused.
    Replicas of one engine share it."""

    finished: dict[str, None] = field(default_factory=dict)
    guilty: set[str] = field(default_factory=set)


def grammar_of(generation: Generation) -> str:
    """The digest that a grammar goes by; empty without one."""
    if generation.guide is None:
        return ""
    return hashlib.sha256(generation.guide.text.encode()).hexdigest()[:12]


class Suspects:
    """Those of one engine process. All of it belongs to one event loop."""

    def __init__(self, verdicts: Verdicts | None = None) -> None:
        self._running: Counter[str] = Counter()
        self._died: dict[str, float] = {}
        self._verdicts = verdicts or Verdicts()

    @contextlib.contextmanager
    def watch(self, generation: Generation) -> Iterator[None]:
        """Around a request. RequestRefusedError for a grammar that an engine has died of."""
        with self.watch_grammar(grammar_of(generation)):
            yield

    @contextlib.contextmanager
    def watch_grammar(self, grammar: str) -> Iterator[None]:
        """`watch`, of a request whose `grammar_of` is known."""
        if not grammar:
            yield
            return
        if grammar in self._verdicts.guilty:
            raise RequestRefusedError("the text's form is refused", why="the engine died while it followed it")
        self._running[grammar] += 1
        try:
            yield
            self._remember(grammar)
        except EngineDiedError:
            self._died[grammar] = time.monotonic()
            raise
        finally:
            self._running[grammar] -= 1
            if not self._running[grammar]:
                del self._running[grammar]

    def _remember(self, grammar: str) -> None:
        self._verdicts.finished.pop(grammar, None)
        self._verdicts.finished[grammar] = None
        if len(self._verdicts.finished) > _REMEMBERED:
            del self._verdicts.finished[next(iter(self._verdicts.finished))]

    def blame(self) -> str:
        """At a death: what caused it, in a few words; empty where that is not known."""
        now = time.monotonic()
        died = {grammar for grammar, moment in self._died.items() if now - moment < _RECENT_SECONDS}
        self._died.clear()
        new = (died | set(self._running)) - set(self._verdicts.finished)
        if len(new) != 1:
            return ""
        self._verdicts.guilty |= new
        return f"a request with a grammar of its own ({new.pop()}), which is refused from now on"
