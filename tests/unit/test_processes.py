"""Ending processes that belong together."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stoker import processes
from stoker.processes import descendants, end_after, kill_session, process_lives, session_members

HOLDER = """
import multiprocessing, time
semaphore = multiprocessing.get_context("spawn").Semaphore()
print(semaphore._semlock.name, flush=True)
time.sleep(60)
"""


def is_tracker(pid: int) -> bool:
    return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_killed_session_leaves_no_semaphore_of_multiprocessing_behind() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as holder:
        assert holder.stdout is not None
        semaphore = Path("/dev/shm") / f"sem.{holder.stdout.readline().decode().strip().removeprefix('/')}"
        assert semaphore.exists()
        while not any(map(is_tracker, session_members(holder.pid))):  # it is forked, and not yet itself
            time.sleep(0.01)
        kill_session(holder.pid)
    assert not any(process_lives(pid) for pid in session_members(holder.pid))
    assert not semaphore.exists()


# As an engine's guard: of a session of its own, it tidies up when its parent has gone, or not at all.
FAMILY = """
import subprocess, sys
guard = "import sys, time; print(1, flush=True); sys.stdin.read(); time.sleep(float(sys.argv[1]))"
child = subprocess.Popen([sys.executable, "-c", guard, sys.argv[1]], stdin=subprocess.PIPE, start_new_session=True)
child.wait()
"""


@pytest.mark.parametrize(("tidying", "limit"), [("0.5", 60.0), ("60", 0.2)], ids=["ends by itself", "is killed"])
def test_what_a_killed_session_started_outside_it_has_ended_too(
    tidying: str, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_GUARDS_SECONDS", limit)
    command = [sys.executable, "-c", FAMILY, tidying]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"1\n"
        below = descendants(parent.pid)
        assert len(below) == 1
        kill_session(parent.pid)
        assert not any(process_lives(pid) for pid, _ in below)


def test_a_number_that_another_process_has_since_is_not_waited_for() -> None:
    end_after([(os.getpid(), "0")], 60)
