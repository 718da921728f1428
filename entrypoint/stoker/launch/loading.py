"""How far an engine has been read in."""

from __future__ import annotations

import os
from pathlib import Path


def engine_bytes(directory: Path, weights: str) -> int:
    """What the files of the engine's weights, named by a pattern, take."""
    return sum(path.stat().st_size for path in directory.glob(weights))


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 if it has exited."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def read_bytes(pid: int) -> int:
    """What a process has read so far, from wherever, except through maps of files; 0 if it has exited."""
    try:
        fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        return int(fields["rchar"])
    except (OSError, KeyError, ValueError):
        return 0
