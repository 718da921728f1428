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

from stoker.launch.generation import EngineDiedError, Generation, RequestRefusedError

_REMEMBERED = 4096
_RECENT_SECONDS = 15.0


class Suspects:
    """All of it belongs to one event loop."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._died: dict[str, float] = {}
        self._finished: dict[str, None] = {}
        self._guilty: set[str] = set()

    @contextlib.contextmanager
    def watch(self, generation: Generation) -> Iterator[None]:
        """Around a request. RequestRefusedError for a grammar that an engine has died of."""
        if generation.guide is None:
            yield
            return
        grammar = hashlib.sha256(generation.guide.text.encode()).hexdigest()[:12]
        if grammar in self._guilty:
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
        self._finished.pop(grammar, None)
        self._finished[grammar] = None
        if len(self._finished) > _REMEMBERED:
            del self._finished[next(iter(self._finished))]

    def blame(self) -> str:
        """At a death: what caused it, in a few words; empty where that is not known."""
        now = time.monotonic()
        died = {grammar for grammar, moment in self._died.items() if now - moment < _RECENT_SECONDS}
        self._died.clear()
        new = (died | set(self._running)) - set(self._finished)
        if len(new) != 1:
            return ""
        self._guilty |= new
        return f"a request with a grammar of its own ({new.pop()}), which is refused from now on"
