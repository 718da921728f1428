"""Docker or Podman, whichever answers, and containers of the image under test. All use the host's network."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.ports import free_port

IMAGE = os.environ.get("STOKER_TEST_IMAGE", "stoker:cpu")
READY_SECONDS = 180
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")


def find_engine() -> str:
    wanted = os.environ.get("CONTAINER_ENGINE")
    for name in [wanted] if wanted else ["docker", "podman"]:
        if shutil.which(name) and call(name, "info").returncode == 0:
            return name
    return ""


def call(*command: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


ENGINE = find_engine()


@dataclass
class Container:
    """One `run -d` of the image; `name` is its own, `port` where its API is on this host."""

    flags: tuple[str, ...]
    arguments: tuple[str, ...]
    network: str = "host"
    port: int = field(default_factory=free_port)
    name: str = field(default_factory=lambda: f"stoker-test-{uuid.uuid4().hex[:12]}")

    def start(self) -> Container:
        flags = (f"--network={self.network}", f"--env=STOKER_PORT={self.port}", *self.flags)
        self._checked("run", "--detach", f"--name={self.name}", *flags, IMAGE, *self.arguments)
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        answer = call(ENGINE, "logs", self.name)
        return answer.stdout + answer.stderr

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self._checked("inspect", "--format={{json .State}}", self.name))
        return state

    def exec(self, *command: str) -> subprocess.CompletedProcess[str]:
        return call(ENGINE, "exec", self.name, *command)

    def is_ready(self) -> bool:
        """Asked from inside, so that it holds without a network too."""
        return self.exec("stoker", "health").returncode == 0

    def wait_ready(self) -> Container:
        self.wait_until(self.is_ready, "ready")
        return self

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            assert self.state["Status"] in ("created", "running"), f"ended before it was {what}:\n{self.output}"
            assert time.monotonic() < deadline, f"not {what}:\n{self.output}"
            time.sleep(0.1)

    def signal(self, name: str) -> None:
        self._checked("kill", f"--signal={name}", self.name)

    def wait(self) -> int:
        """The exit code."""
        return int(self._checked("wait", self.name).split()[0])

    def remove(self) -> None:
        call(ENGINE, "kill", self.name)
        call(ENGINE, "rm", "--force", "--volumes", self.name)

    def _checked(self, *arguments: str) -> str:
        answer = call(ENGINE, *arguments)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout


def run(*arguments: str, flags: tuple[str, ...] = (), network: str = "host") -> subprocess.CompletedProcess[str]:
    """`run --rm`, to its end."""
    return call(ENGINE, "run", "--rm", f"--network={network}", *flags, IMAGE, *arguments)


def layer_bytes() -> list[int]:
    """Of each step of the image, the newest first."""
    if ENGINE == "podman":
        return [int(step["size"]) for step in json.loads(call(ENGINE, "history", "--format=json", IMAGE).stdout)]
    return [int(size) for size in call(ENGINE, "history", "--human=false", "--format={{.Size}}", IMAGE).stdout.split()]


def inspect_image() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(call(ENGINE, "image", "inspect", IMAGE).stdout)[0]
    return document


def complete(url: str, prompt: str = "Once", tokens: int = 8) -> str:
    """The text that the demo's API answers with."""
    body = json.dumps({"model": "demo", "prompt": prompt, "max_tokens": tokens, "temperature": 0}).encode()
    request = urllib.request.Request(f"{url}/v1/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(json.loads(answer.read())["choices"][0]["text"])


def wait_for(url: str) -> None:
    """Until it answers with 200."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return
        assert time.monotonic() < deadline, f"{url} does not answer"
        time.sleep(0.1)
