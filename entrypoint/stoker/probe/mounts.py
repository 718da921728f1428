"""/proc/self/mountinfo (proc_pid_mountinfo(5)): which file system is mounted where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Mount:
    """`root` is the directory of the mounted file system that appears at `point`; `options` are the superblock's."""

    root: PurePosixPath
    point: PurePosixPath
    filesystem: str
    options: frozenset[str]


def read_mounts(root: Path) -> tuple[Mount, ...]:
    """The mounts that this process sees, none if the kernel does not tell. `root` stands for `/`."""
    try:
        lines = (root / "proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ()
    mounts = (_parse(line) for line in lines)
    return tuple(mount for mount in mounts if mount is not None)


def mount_of(path: Path, mounts: tuple[Mount, ...]) -> Mount | None:
    """The mount that `path` (absolute) lies on: the longest mount point above it, the last one mounted there."""
    above = [mount for mount in mounts if path.is_relative_to(mount.point)]
    longest = max((len(mount.point.parts) for mount in above), default=0)
    return next((mount for mount in reversed(above) if len(mount.point.parts) == longest), None)


def _parse(line: str) -> Mount | None:
    before, separator, after = line.partition(" - ")
    left, right = before.split(" "), after.split(" ")
    if not separator or len(left) < 6 or len(right) < 2:
        return None
    options = frozenset(right[2].split(",")) if len(right) > 2 else frozenset()
    return Mount(PurePosixPath(_unescape(left[3])), PurePosixPath(_unescape(left[4])), right[0], options)


def _unescape(path: str) -> str:
    """The kernel writes space, tab, newline and backslash as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)
