"""How long to wait before the next attempt at what has failed."""

from __future__ import annotations

_MOST_DOUBLINGS = 64  # a float holds no 2 ** 1024, and what fails once a minute has failed so often after a day


def backoff(failures: int, first: float, longest: float) -> float:
    """Seconds: `first`, twice as long after each failure, and at most `longest`."""
    return min(longest, first * 2.0 ** min(failures, _MOST_DOUBLINGS))
