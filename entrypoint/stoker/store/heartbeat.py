"""Signs of life on a shared file system: files that are touched while their owner lives.

flock would tell of a dead process at once, but not to another node on every NFS, and never of one that hangs.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from stoker.store.owner import Owner

BEAT_SECONDS = 2.0
# Five beats missed: long enough for a busy disk, short enough that another takes over within 15 s.
STALE_SECONDS = 10.0


class Heartbeat:
    """Calls `beat` every so often in a thread of its own, until the block ends. What fails is tried again."""

    def __init__(self, beat: Callable[[], None], seconds: float = BEAT_SECONDS) -> None:
        self._beat = beat
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            with contextlib.suppress(OSError):
                self._beat()


def touch(path: Path) -> None:
    """Sets the time by the file system's own clock, which on NFS is the server's."""
    os.utime(path)


def seconds_since_touched(path: Path) -> float:
    """By the file system's own clock, so that nodes whose clocks differ agree. Infinite for what no longer exists."""
    try:
        touched = path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
    return _now(path.parent) - touched


def _now(directory: Path) -> float:
    """The file system's clock, by the time of a new file; ours where the disk is full."""
    try:
        with tempfile.TemporaryFile(dir=directory) as probe:
            return os.fstat(probe.fileno()).st_mtime
    except OSError:
        return time.time()


def is_alive(path: Path, owner: Owner | None, patience: float = STALE_SECONDS) -> bool:
    """Whether what `path` stands for goes on: its owner is not known to be dead, and it was touched lately."""
    if owner is not None and owner.lives is False:
        return False
    return seconds_since_touched(path) < patience
