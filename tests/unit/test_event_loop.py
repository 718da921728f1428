"""Other threads and an event loop that may have ended, and signals that come while one runs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stoker.event_loop import call_in_loop, run_interruptible


def test_it_is_called_in_the_loops_thread() -> None:
    async def run() -> int:
        called: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        loop, thread = asyncio.get_running_loop(), threading.get_ident

        def other() -> None:
            call_in_loop(loop, lambda given: called.set_result(given + thread()), 0)

        await asyncio.to_thread(other)
        return await called

    assert asyncio.run(run()) == threading.get_ident()


def test_a_loop_that_has_ended_is_not_told() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    call_in_loop(loop, lambda: None)


def signalled(case: str, number: int) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what else a test's process has loaded may have its own ways with signals."""
    command = [sys.executable, str(Path(__file__).with_name("signalled.py")), case, str(int(number))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("case", ["callback", "end", "failure"])
def test_a_signal_goes_before_what_the_work_comes_to_and_is_not_lost(case: str, number: int) -> None:
    ended = signalled(case, number)
    assert ended.returncode == 128 + number, ended.stderr
    assert "went on" not in ended.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_is_ignored_stays_so(number: int) -> None:
    assert signalled("ignored", number).stdout == "went on True\n"


def test_work_that_is_cancelled_otherwise_is_cancelled() -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_interruptible(cancelled())
