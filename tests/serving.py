"""A real server: `stoker serve` in a process of its own, on a free port, with real Triton and a real engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.ports import free_port
from tests.waiting import SECONDS


class Server:
    """`output` is everything it said so far."""

    def __init__(self, log: Path, arguments: list[str], environment: dict[str, str], port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        command = [sys.executable, "-m", "stoker", "serve", *arguments, "--port", str(self.port)]
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **environment})

    @property
    def output(self) -> str:
        return self._log.read_text()

    def status(self, path: str) -> int:
        """The HTTP status, 0 where nothing listens."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def wait_ready(self) -> None:
        self.wait_until(lambda: self.status("/v1/health/ready") == 200, "ready")

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"the server ended before it was {what}:\n{self.output}"
            assert time.monotonic() < deadline, f"not {what} after {seconds} s:\n{self.output}"
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def children(self) -> dict[int, str]:
        """Every process below it: command names by pid."""
        found: dict[int, str] = {}
        parents = [self.process.pid]
        while parents:
            below = _children(parents.pop())
            found.update(below)
            parents += below
        return found

    def stub(self) -> int:
        return next(pid for pid, name in self.children().items() if name.startswith("triton_python"))

    def triton(self) -> int:
        return next(pid for pid, name in self.children().items() if name.startswith("tritonserver"))


def _children(parent: int) -> dict[int, str]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if int(rest.split()[1]) == parent:
            found[int(path.parent.name)] = name
    return found
