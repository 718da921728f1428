"""Processes as /proc has them: who belongs together, and how to end all of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path

_PARENT, _GROUP, _SESSION, _STARTED = 1, 2, 3, 19  # positions in stat_fields
_ENDING_SECONDS = 5.0
_TIDYING_SECONDS = 3.0
_GUARDS_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1


def stat_fields(pid: int) -> list[str]:
    """/proc/PID/stat from field 3 (the state) on; empty if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
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
    pids = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return [pid for pid in pids if (fields := stat_fields(pid)) and int(fields[field]) == leader]


def descendants(root: int) -> frozenset[tuple[int, str]]:
    """Processes below `root`, whatever their sessions, each with its start time, since a PID may be used again."""
    known = {int(path.name): stat_fields(int(path.name)) for path in Path("/proc").glob("[0-9]*")}
    found = [root]
    for parent in found:
        found += [pid for pid, fields in known.items() if fields and int(fields[_PARENT]) == parent]
    return frozenset((pid, known[pid][_STARTED]) for pid in found[1:])


def end_after(processes: Collection[tuple[int, str]], seconds: float) -> None:
    """Returns when none of `descendants` lives; what lives after so many seconds is killed."""
    until = time.monotonic() + seconds
    while living := [pid for pid, started in processes if _is(pid, started) and process_lives(pid)]:
        late = time.monotonic() - until
        for pid in living if late > 0 else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if late > _ENDING_SECONDS:  # held up inside the kernel
            return
        time.sleep(0.01)


def _is(pid: int, started: str) -> bool:
    return stat_fields(pid)[_STARTED : _STARTED + 1] == [started]


def process_lives(pid: int) -> bool:
    """False for a zombie too: its parent may be slow to collect it."""
    fields = stat_fields(pid)
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
