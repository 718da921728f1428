"""Nothing below the guard outlives what it should, whatever is killed. With a stand-in for vLLM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUN = """
import sys
from stoker.kinds.vllm.runtime import guard
guard.HOST = "fake_host"
sys.exit(guard.main(sys.argv[1]))
"""


class Family:
    """The guard, the host, what that spawned, and the program below."""

    def __init__(self, behaviour: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
        command = [sys.executable, "-c", RUN, behaviour]
        self.guard = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert self.guard.stdout
        host, *regions = self.guard.stdout.readline().decode().split()
        self.host, self.regions = int(host), [Path("/dev/shm", region) for region in regions]
        self.child, self.program = map(int, self.guard.stdout.readline().split())

    def close(self) -> None:
        for pid in (self.guard.pid, self.host, self.child, self.program):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        assert self.guard.stdin
        assert self.guard.stdout
        self.guard.stdin.close()
        self.guard.stdout.close()
        self.guard.wait()

    def gone(self) -> bool:
        """All but the guard, and the shared memory; processes that nobody has collected yet count as gone."""
        return not any(region.exists() for region in self.regions) and not any(
            alive(pid) for pid in (self.host, self.child, self.program)
        )


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(family: Family) -> None:
    deadline = time.monotonic() + 60
    while not family.gone():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def family() -> Iterator[Family]:
    found = Family("well")
    yield found
    found.close()


def test_all_end_with_whoever_started_the_guard(family: Family) -> None:
    assert family.guard.stdin
    family.guard.stdin.close()
    wait_for(family)
    assert family.guard.wait(60) == 128 + signal.SIGTERM


@pytest.mark.parametrize("victim", ["host", "child"])
def test_all_end_with_the_host(family: Family, victim: str) -> None:
    os.kill(getattr(family, victim), signal.SIGKILL)
    if victim == "child":  # the host would notice by itself
        os.kill(family.host, signal.SIGTERM)
    wait_for(family)
    family.guard.wait(60)


def test_a_killed_guard_takes_along_what_holds_an_engine(family: Family) -> None:
    family.guard.kill()
    deadline = time.monotonic() + 60
    while alive(family.host) or alive(family.child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_hosts_exit_code_is_the_guards() -> None:
    family = Family("broken")
    assert family.guard.wait(60) == 3
    wait_for(family)
    family.close()
