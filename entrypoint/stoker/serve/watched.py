"""Files that may be replaced while the server runs: keys, certificates. Kubernetes replaces them by moving a link."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

CHECK_SECONDS = 1.0


class WatchedFiles:
    """`changed` is asked often, and looks at most once a second."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._seen = self._look()
        self._looked = time.monotonic()

    def changed(self) -> bool:
        """Whether any is another file than when this last said so (or than at the beginning)."""
        now = time.monotonic()
        if now - self._looked < CHECK_SECONDS:
            return False
        self._looked = now
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
