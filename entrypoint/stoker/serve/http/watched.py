"""Files that may be replaced while the server runs: keys, certificates. Kubernetes replaces them by moving a link."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

CHECK_SECONDS = 1.0


class WatchedFiles:
    """`changed` is asked often, and looks at most once a second, or when told to."""

    _told = 0

    @classmethod
    def look_again(cls) -> None:
        """All of them look when they are next asked."""
        cls._told += 1

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._seen = self._look()
        self._looked = time.monotonic()
        self._heard = self._told

    def changed(self) -> bool:
        """Whether any is another file than when this last said so (or than at the beginning)."""
        now = time.monotonic()
        if now - self._looked < CHECK_SECONDS and self._heard == self._told:
            return False
        self._looked, self._heard = now, self._told
        found = self._look()
        if found == self._seen:
            return False
        self._seen = found
        return True

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(map(_identity, self._paths))


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
