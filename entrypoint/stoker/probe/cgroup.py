"""The limits that control groups put on this process: cgroup v1, v2 and both at once, at every level above it.

Sources: cgroups(7), the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst. A limit anywhere
above the process holds for it, so each number is the smallest over all visible levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stoker.probe.cpu_list import parse_cpu_list
from stoker.probe.mounts import Mount, read_mounts

_UNLIMITED = 1 << 62  # v1 writes the largest whole number of pages below 2**63, which depends on the page size


@dataclass(frozen=True)
class Limits:
    """`memory` is the smallest memory limit in bytes, `memory_free` the least that any level has left of its own
    (page cache that can be dropped counts as free), `cores` the smallest CPU quota as a number of cores, `cpus` the
    cpuset. None means unlimited. `notes` name files that could not be understood.
    """

    memory: int | None = None
    memory_free: int | None = None
    cores: float | None = None
    cpus: frozenset[int] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Level:
    """One directory of a hierarchy. `directory` is on this file system; `shown` is what to call it in a note."""

    directory: Path
    shown: PurePosixPath
    version: int


def read_limits(root: Path = Path("/")) -> Limits:
    """What the groups of this process and their ancestors allow. Never fails: no control groups, no limits."""
    reader = _Reader()
    mounts = read_mounts(root)
    memory = _levels(root, mounts, "memory")
    sizes = [size for level in memory for size in _memory_limits(level, reader)]
    frees = [free for level in memory if (free := _memory_free(level, reader)) is not None]
    quotas = [quota for level in _levels(root, mounts, "cpu") if (quota := _cpu_quota(level, reader)) is not None]
    cpus = _cpuset(_levels(root, mounts, "cpuset"), reader)
    return Limits(
        memory=min(sizes, default=None),
        memory_free=min(frees, default=None),
        cores=min(quotas, default=None),
        cpus=cpus,
        notes=tuple(reader.notes),
    )


def _levels(root: Path, mounts: tuple[Mount, ...], controller: str) -> list[Level]:
    """The group of `controller` and its ancestors, innermost first, v1 before v2 (a controller is in one of them)."""
    groups = _groups(root)
    levels: list[Level] = []
    for mount in mounts:
        if mount.filesystem == "cgroup" and controller in mount.options:
            levels += _chain(root, mount, _group_of(groups, controller), 1)
        elif mount.filesystem == "cgroup2":
            levels += _chain(root, mount, groups.get("", PurePosixPath("/")), 2)
    return levels


def _groups(root: Path) -> dict[str, PurePosixPath]:
    """/proc/self/cgroup: `id:controllers:path`, with no controllers for the v2 hierarchy."""
    try:
        lines = (root / "proc/self/cgroup").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    fields = (line.split(":", 2) for line in lines if line.count(":") >= 2)
    return {controllers: PurePosixPath(path) for _, controllers, path in fields}


def _group_of(groups: dict[str, PurePosixPath], controller: str) -> PurePosixPath:
    found = (path for controllers, path in groups.items() if controller in controllers.split(","))
    return next(found, PurePosixPath("/"))


def _chain(root: Path, mount: Mount, group: PurePosixPath, version: int) -> Iterator[Level]:
    """The directories from `group` up to the mount point that exist.

    In a container the kernel may name a path of the host that is not under the mount (private group namespace, bind
    mount of the container's own group): then the mount point itself is the process's group.
    """
    inside = group.is_relative_to(mount.root) and ".." not in group.parts
    relative = group.relative_to(mount.root) if inside else PurePosixPath(".")
    shown = mount.point / relative
    while shown.is_relative_to(mount.point):
        directory = root / shown.relative_to("/")
        if directory.is_dir():
            yield Level(directory, shown, version)
        if shown == shown.parent:
            break
        shown = shown.parent


def _memory_limits(level: Level, reader: _Reader) -> Iterator[int]:
    """`memory.high` counts as a limit: above it the kernel throttles the process until it gives memory back.

    v1's `hierarchical_memory_limit` also holds what ancestors outside the container's view allow.
    """
    names = ("memory.max", "memory.high") if level.version == 2 else ("memory.limit_in_bytes",)
    limits = [reader.number(level, name) for name in names]
    if level.version == 1:
        limits.append(reader.statistics(level, "memory.stat").get("hierarchical_memory_limit"))
    yield from (limit for limit in limits if limit is not None and 0 < limit < _UNLIMITED)


def _memory_free(level: Level, reader: _Reader) -> int | None:
    limits = list(_memory_limits(level, reader))
    usage = reader.number(level, "memory.current" if level.version == 2 else "memory.usage_in_bytes")
    if not limits or usage is None:
        return None
    statistics = reader.statistics(level, "memory.stat")
    reclaimable = statistics.get("inactive_file" if level.version == 2 else "total_inactive_file", 0)
    return max(0, min(limits) - max(0, usage - reclaimable))


def _cpu_quota(level: Level, reader: _Reader) -> float | None:
    """CPU time per period as a number of cores: v2 writes `quota period` in one file, v1 in two."""
    if level.version == 2:
        words = reader.text(level, "cpu.max").split()
    else:
        words = [reader.text(level, "cpu.cfs_quota_us"), reader.text(level, "cpu.cfs_period_us")]
    if not words or words[0] in ("", "max", "-1"):
        return None
    if len(words) != 2 or not all(word.isdigit() and int(word) > 0 for word in words):
        reader.note(f"{level.shown}: CPU quota {' '.join(words)!r} is not understood, and ignored")
        return None
    return int(words[0]) / int(words[1])


def _cpuset(levels: list[Level], reader: _Reader) -> frozenset[int] | None:
    """The innermost cpuset that says something; the effective one already lies within those of its ancestors."""
    for level in levels:
        v1 = level.version == 1
        for name in ("cpuset.effective_cpus", "cpuset.cpus") if v1 else ("cpuset.cpus.effective",):
            cpus = reader.cpus(level, name)
            if cpus:
                return cpus
    return None


class _Reader:
    """Reads the small files and keeps a note of what it could not understand. A missing file says nothing."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def text(self, level: Level, name: str) -> str:
        try:
            return (level.directory / name).read_text(errors="replace").strip()
        except OSError:
            return ""

    def number(self, level: Level, name: str) -> int | None:
        text = self.text(level, name)
        if text in ("", "max", "-1"):
            return None
        if not text.isdigit():
            self.note(f"{level.shown / name}: {text!r} is not a number, and ignored")
            return None
        return int(text)

    def statistics(self, level: Level, name: str) -> dict[str, int]:
        words = (line.split() for line in self.text(level, name).splitlines())
        return {pair[0]: int(pair[1]) for pair in words if len(pair) == 2 and pair[1].isdigit()}

    def cpus(self, level: Level, name: str) -> frozenset[int]:
        text = self.text(level, name)
        try:
            return parse_cpu_list(text)
        except ValueError:
            self.note(f"{level.shown / name}: {text!r} is not a list of CPUs, and ignored")
            return frozenset()

    def note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def whole_cores(quota: float) -> int:
    """A fractional quota as a number of threads: the nearest whole number (halves up), at least 1.

    Rounding down would leave up to a core idle (3.9 -> 3); rounding up lets the threads of one matrix product run into
    the quota's throttling together (1.1 -> 2 stops all of them for 45 % of each period).
    """
    return max(1, math.floor(quota + 0.5))
