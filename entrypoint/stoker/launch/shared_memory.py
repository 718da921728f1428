"""Names for Triton's regions in /dev/shm, so that what a killed server left there can be told from what is in use."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from stoker.processes import start_time

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  shared memory's own place, not a temporary file
_PREFIX = "stoker"
_runs = itertools.count(1)


def new_prefix() -> str:
    """Unique among all processes that share this /dev/shm, also those of other containers (other PID namespaces)."""
    return f"{owner_prefix()}{next(_runs)}-"


def owner_prefix() -> str:
    """What the names of all that this process leaves lying about begin with."""
    return f"{_PREFIX}-{_namespace()}-{os.getpid()}-{start_time(os.getpid())}-"


def remove_regions(prefix: str) -> None:
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def remove_stale_regions() -> None:
    """Removes the regions of runs whose process has exited."""
    for region in stale(SHARED_MEMORY):
        region.unlink(missing_ok=True)


def stale(directory: Path) -> Iterator[Path]:
    """What this user's exited processes have left in a directory; those of other PID namespaces are not ours to
    judge, and what another user put there under such a name is nothing to touch."""
    for path in directory.glob(f"{_PREFIX}-{_namespace()}-*"):
        owner = path.name.split("-")[2:4] if _is_ours(path) else []
        if len(owner) == 2 and all(part.isdigit() for part in owner) and start_time(int(owner[0])) != int(owner[1]):
            yield path


def _is_ours(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.geteuid()
    except FileNotFoundError:
        return False


def _namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
