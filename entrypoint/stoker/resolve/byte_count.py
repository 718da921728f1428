"""Bytes done by several threads, reported to one Progress."""

from __future__ import annotations

import threading
import time

from stoker.progress import Progress

# A fast disk or network would else tell of its bytes many thousand times a second.
_SECONDS_BETWEEN_REPORTS = 0.05


class ByteCount:
    """Tells the first, the last and some of the counts between."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0
        self._due = 0.0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """`count` is negative where bytes turned out to be void and will come again."""
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now >= self._due or self._done == self._total:
                self._due = now + _SECONDS_BETWEEN_REPORTS
                self._progress.advance(self._done, self._total)
