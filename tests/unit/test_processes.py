"""Ending processes that belong together."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from stoker.processes import kill_session, process_lives, session_members

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
