"""How long an engine has been silent, on a clock that the tests set, and whether one that loads does anything."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from tests.waiting import until

from stoker.launch import life_signs
from stoker.launch.life_signs import LifeSigns, Work, stopped_working, work_of


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    found = SimpleNamespace(now=1000.0, steps=0, token=0.0)
    monkeypatch.setattr(life_signs.time, "monotonic", lambda: found.now)
    return found


@pytest.fixture
def signs(clock: SimpleNamespace) -> LifeSigns:
    found = LifeSigns(lambda: int(clock.steps), lambda: float(clock.token))
    found.silence()
    return found


def after(seconds: float, clock: SimpleNamespace, signs: LifeSigns) -> float:
    """The silence then, looked for every second."""
    for _ in range(int(seconds)):
        clock.now += 1
        found = signs.silence()
    return found


def test_silence_ends_with_a_step_or_a_token(clock: SimpleNamespace, signs: LifeSigns) -> None:
    assert after(30, clock, signs) == 30
    clock.steps = 1
    assert after(1, clock, signs) == 0
    assert after(5, clock, signs) == 5
    clock.token = clock.now
    assert after(2, clock, signs) == 2


def test_a_time_in_which_this_process_was_stopped_is_no_silence(clock: SimpleNamespace, signs: LifeSigns) -> None:
    assert after(3, clock, signs) == 3
    clock.now += 420
    assert signs.silence() == 13
    assert after(50, clock, signs) == 63  # and what is silent afterwards is


def test_a_token_of_before_the_stop_is_as_old_as_it_was(clock: SimpleNamespace, signs: LifeSigns) -> None:
    clock.token = clock.now
    clock.now += 420
    assert signs.silence() == 10


def test_a_time_in_which_steps_cannot_be_seen_is_no_silence(clock: SimpleNamespace) -> None:
    def steps() -> int:
        if clock.blind:
            raise OSError(24, "Too many open files")
        return int(clock.steps)

    clock.blind = False
    signs = LifeSigns(steps, lambda: float(clock.token))
    signs.silence()
    assert after(30, clock, signs) == 30
    clock.blind = True
    assert after(300, clock, signs) == 0
    clock.blind = False
    assert after(7, clock, signs) == 7


@contextmanager
def running(code: str) -> Iterator[int]:
    """The pid of a Python that has said that it is there."""
    command = [sys.executable, "-c", f"print('here', flush=True)\n{code}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline()
            yield process.pid
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_process_that_waits_has_stopped_working() -> None:
    with running("import time; time.sleep(1000)") as pid:
        assert asyncio.run(stopped_working(pid, 0.4)) > 0.4


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])",
        "import time\nwhile open('/proc/self/stat').read(): time.sleep(0.05)",
    ],
    ids=["computes", "has a child that does", "reads"],
)
def test_one_that_computes_or_reads_has_not(code: str) -> None:
    async def waited(pid: int) -> None:
        before = work_of(pid)
        task = asyncio.create_task(stopped_working(pid, 8.0))
        await until(lambda: work_of(pid).is_more_than(before, 2.0))
        assert not task.done()
        task.cancel()

    with running(code) as pid:
        asyncio.run(waited(pid))


def test_one_that_cannot_be_seen_may_be_working(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without a file descriptor left."""
    looks: list[object] = [Work(1, 1, 1), OSError(24, ""), *[Work(1, 1, 1)] * 6]

    def look(_: int) -> Work:
        found = looks.pop(0)
        if isinstance(found, OSError):
            raise found
        assert isinstance(found, Work)
        return found

    monkeypatch.setattr(life_signs, "work_of", look)
    assert asyncio.run(stopped_working(1, 0.04)) > 0.04
    assert not looks, "the time before it was seen again counts for nothing"


def test_idle_polls_are_no_work() -> None:
    before = Work(10.0, 5, 7)
    assert not Work(10.02, 5, 7).is_more_than(before, 5.0)
    assert Work(10.2, 5, 7).is_more_than(before, 5.0)
    assert Work(10.0, 6, 7).is_more_than(before, 5.0)
    assert Work(10.0, 5, 8).is_more_than(before, 5.0)
    assert not Work(10.0, 5, 7).is_more_than(before, math.inf)
