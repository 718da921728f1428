"""Processes as /proc has them: who belongs together, and how to end all of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path

_PARENT, _GROUP, _SESSION, _STARTED = 1, 2, 3, 19  # positions in stat_fields
_FAULTS, _TIMES = slice(9, 11), slice(11, 15)
_ENDING_SECONDS = 5.0
_TIDYING_SECONDS = 3.0
_GUARDS_SECONDS = 20.0  # for what a killed session leaves in others, which tidies up
_PR_SET_PDEATHSIG = 1


def stat_fields(pid: int, proc: Path = Path("/proc")) -> list[str]:
    """/proc/PID/stat from field 3 (the state) on; empty if there is no such process."""
    try:
        text = (proc / str(pid) / "stat").read_text(errors="replace")  # a command's name may hold anything
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def session_members(leader: int) -> list[int]:
    """Processes whose session is that of `leader`, which may have ended itself."""
    return _members(_SESSION, leader)


def group_members(leader: int) -> list[int]:
    """Processes whose process group is that of `leader`, which may have ended itself."""
    return _members(_GROUP, leader)


def _members(field: int, leader: int) -> list[int]:
    return [pid for pid, fields in _running(Path("/proc")) if int(fields[field]) == leader]


def _running(proc: Path) -> Iterator[tuple[int, list[str]]]:
    """Each process with its `stat_fields`."""
    for path in proc.glob("[0-9]*"):
        if fields := stat_fields(int(path.name), proc):
            yield int(path.name), fields


def family(root: int, proc: Path = Path("/proc")) -> list[int]:
    """The process and all below it, whatever their sessions, parents first."""
    below: dict[int, list[int]] = {}
    for pid, fields in _running(proc):
        below.setdefault(int(fields[_PARENT]), []).append(pid)
    found = [root]
    for pid in found:
        found += below.get(pid, [])
    return found


def descendants(root: int) -> frozenset[tuple[int, str]]:
    """Processes below `root`, each with its start time, since a PID may be used again."""
    return frozenset((pid, fields[_STARTED]) for pid in family(root)[1:] if (fields := stat_fields(pid)))


def end_after(processes: Collection[tuple[int, str]], seconds: float) -> None:
    """Returns when none of `descendants` lives; what lives after so many seconds is killed."""
    until = time.monotonic() + seconds
    while living := [pid for pid, started in processes if start_time(pid) == int(started)]:
        late = time.monotonic() - until
        for pid in living if late > 0 else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if late > _ENDING_SECONDS:  # held up inside the kernel
            return
        time.sleep(0.01)


def process_lives(pid: int) -> bool:
    """False for a zombie too: its parent may be slow to collect it."""
    return _alive(stat_fields(pid))


def start_time(pid: int) -> int:
    """In clock ticks since boot; -1 for none, and for a zombie, which does nothing any more."""
    fields = stat_fields(pid)
    return int(fields[_STARTED]) if _alive(fields) else -1


def processor_seconds(pid: int) -> float:
    """What it and its children that have ended took; 0 if it has exited itself."""
    return sum(map(int, stat_fields(pid)[_TIMES])) / os.sysconf("SC_CLK_TCK")


def major_faults(pid: int) -> int:
    """Pages that it and its children that have ended had to wait for; 0 if it has exited itself."""
    return sum(map(int, stat_fields(pid)[_FAULTS]))


def _alive(fields: list[str]) -> bool:
    return bool(fields) and fields[0] not in "ZX"


def die_with_parent(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Asks Linux to send this process a signal when its parent ends, however it ends."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it ended before the kernel knew


def kill_session(leader: int) -> None:
    """SIGKILL for every process of the session, those that are forked meanwhile included; returns when none lives.

    Except multiprocessing's resource trackers, which end by themselves once nobody is left to track, and remove from
    /dev/shm the semaphores of those that were killed; they have a few seconds for it. What the leader started in other
    sessions ends by itself, as the guard of an engine does, which then frees a GPU: that is waited for.
    """
    began, below = time.monotonic(), descendants(leader)
    while living := [pid for pid in session_members(leader) if process_lives(pid)]:
        spent = time.monotonic() - began
        for pid in living:
            if spent > _TIDYING_SECONDS or not _tracks_resources(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if spent > _ENDING_SECONDS:  # held up inside the kernel: it dies when that lets go of it
            break
        time.sleep(0.01)
    end_after(below, _GUARDS_SECONDS)


def _tracks_resources(pid: int) -> bool:
    try:
        return b"multiprocessing.resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
