"""Whether an engine still moves. Its process being there proves nothing, and neither do Triton's health endpoints."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from stoker.launch.loading import read_bytes
from stoker.processes import family, major_faults, processor_seconds

_UNWATCHED = 10.0  # seconds between two looks; what is beyond them nobody watched
_LOOK_SECONDS = 5.0
_IDLE_SHARE = 0.01


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


@dataclass(frozen=True)
class Work:
    """What processes have done so far: seconds of processor time, bytes read, pages of mapped files waited for."""

    seconds: float
    read: int
    faults: int

    def is_more_than(self, before: Work, seconds: float) -> bool:
        """Whether something was done within so many seconds, apart from the idle polls of Triton and its stub, which
        take a few thousandths of a processor."""
        moved = (self.read, self.faults) != (before.read, before.faults)
        return moved or self.seconds - before.seconds > _IDLE_SHARE * seconds


def work_of(root: int) -> Work:
    """Of a process and all below it."""
    pids = family(root)
    return Work(sum(map(processor_seconds, pids)), sum(map(read_bytes, pids)), sum(map(major_faults, pids)))


class Idleness:
    """How long a process and all below it have neither computed nor read, for a caller that looks every `step` seconds.

    A time in which this process was stopped as well counts as one look, and one in which nothing could be seen, as
    without a file descriptor left, ends what was idle.
    """

    def __init__(self, root: int, patience: float) -> None:
        self.step = min(_LOOK_SECONDS, patience / 4)
        self.seconds = 0.0
        self._root = root
        self._patience = patience
        self._before: Work | None = None

    def is_too_long(self) -> bool:
        """Looks, and says whether it has been idle for longer than `patience`."""
        work, before = _seen(self._root), self._before
        is_idle = work is not None and before is not None and not work.is_more_than(before, self.step)
        self.seconds = self.seconds + self.step if is_idle else 0.0
        self._before = work
        return self.seconds > self._patience


async def stopped_working(root: int, patience: float) -> float:
    """Returns, with the seconds for which it has, when a process has been idle for longer than `patience`."""
    idleness = Idleness(root, patience)
    while not idleness.is_too_long():
        await asyncio.sleep(idleness.step)
    return idleness.seconds


def _seen(root: int) -> Work | None:
    try:
        return work_of(root)
    except OSError:
        return None
