"""`stoker serve` in a process of its own, as tests on made-up and on real GPUs drive it over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


class Started:
    """A program of ours that writes into `log`; `seconds` is the longest wait for anything."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str], seconds: float = 120) -> None:
        self.log, self.seconds = log, seconds
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **environment})

    @property
    def output(self) -> str:
        """All that it said so far."""
        return self.log.read_text()

    @property
    def url(self) -> str:
        found = re.search(r"at (http://\S+:\d+)", self.output)
        return found[1] if found else ""

    @property
    def ready(self) -> bool:
        return bool(self.url) and self.status("/v1/health/ready") == 200

    def status(self, path: str) -> int:
        try:
            return int(urllib.request.urlopen(self.url + path, timeout=10).status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self.seconds
        while not condition():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)


class Served(Started):
    """`command` is everything before `serve`."""

    def __init__(
        self,
        command: Sequence[str],
        model: str,
        overrides: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        seconds: float = 120,
    ) -> None:
        self.folder = folder
        arguments = ["serve", model, *overrides, "--port", "0", "--cache", str(folder / "cache")]
        super().__init__([*command, *arguments], folder / "server.log", environment or {}, seconds)

    def wait_until_ready(self) -> None:
        self.wait_until(lambda: self.ready)

    @property
    def model(self) -> str:
        with urllib.request.urlopen(f"{self.url}/v1/models", timeout=10) as answer:
            return str(json.load(answer)["data"][0]["id"])

    def open(self, path: str, **body: Any):
        request = urllib.request.Request(f"{self.url}/v1/{path}", json.dumps({"model": self.model, **body}).encode())
        request.add_header("Content-Type", "application/json")
        return urllib.request.urlopen(request, timeout=self.seconds)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        with self.open(path, **body) as answer:
            document: dict[str, Any] = json.load(answer)
            return document

    def complete(self, **body: Any) -> dict[str, Any]:
        return self.post("completions", prompt="Once", ignore_eos=True, **body)

    def events(self, path: str, **body: Any) -> list[str]:
        with self.open(path, stream=True, **body) as stream:
            return events(stream)

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as page:
            found = re.search(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", page.read().decode(), re.MULTILINE)
        assert found, name
        return float(found[1])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(self.seconds)

    @contextlib.contextmanager
    def running(self) -> Iterator[Served]:
        try:
            self.wait_until_ready()
            yield self
        finally:
            self.process.kill()
            self.process.wait()


def events(stream) -> list[str]:
    return re.findall(r"^data: (.*)$", stream.read().decode(), re.MULTILINE)
