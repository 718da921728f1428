"""Whether an engine still moves. Its process being there proves nothing, and neither do Triton's health endpoints."""

from __future__ import annotations

import time
from collections.abc import Callable

_UNWATCHED = 10.0  # seconds between two looks; what is beyond them nobody watched


class LifeSigns:
    """Tokens that came out of the engine, and steps that its pulse counted.

    A time in which nobody looked is no silence: this process was stopped as well (`docker pause`, a suspended machine).
    Nor is one in which nobody could: `steps` raises OSError where no file descriptor is left.
    """

    def __init__(self, steps: Callable[[], int], last_token: Callable[[], float]) -> None:
        self._steps = steps
        self._last_token = last_token
        self._seen = -1
        self._last = self._looked = time.monotonic()

    def silence(self) -> float:
        """Seconds since the last token or step."""
        now = time.monotonic()
        self._last += max(now - self._looked - _UNWATCHED, 0.0)
        self._looked = now
        try:
            steps = self._steps()
        except OSError:
            self._last = now
            return 0.0
        if steps != self._seen:
            self._seen, self._last = steps, now
        self._last = max(self._last, self._last_token())
        return now - self._last
