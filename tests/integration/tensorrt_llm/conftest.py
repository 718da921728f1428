"""`stoker` on GPUs that NVML makes up: its builds by the stand-ins for TensorRT-LLM's tools, its engines in real Triton
with the stand-in for the C++ backend."""

from __future__ import annotations

import contextlib
import json
import os
import re
import runpy
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SECONDS = 120


class Server:
    """A `stoker` process; `output` is all that it said so far."""

    def __init__(self, folder: Path, gpus: int, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.log = folder / "server.log"
        self.ranks = Path(environment["FAKE_TENSORRTLLM_RANKS"])
        with self.log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "serve_on_gpus.py"), str(gpus), *arguments],
                stdout=file,
                stderr=file,
                env={**os.environ, **environment},
            )

    @property
    def output(self) -> str:
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
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def open(self, **body: Any) -> Any:
        document = {"model": "demo", "prompt": "Once", "ignore_eos": True, **body}
        request = urllib.request.Request(f"{self.url}/v1/completions", json.dumps(document).encode())
        request.add_header("Content-Type", "application/json")
        return urllib.request.urlopen(request, timeout=60)

    def pids(self) -> list[int]:
        """Of the Triton servers, rank by rank."""
        return [int(path.read_text()) for path in self.ranks.iterdir()]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts `stoker COMMAND demo` for so many GPUs; a second one in a test shares the first one's cache."""
    triton = runpy.run_path(str(HERE.parents[1] / "fake_tensorrtllm_backend" / "image.py"))["make_triton"]
    tools = runpy.run_path(str(HERE.parents[1] / "fake_tensorrt_llm_tools" / "image.py"))["make_tools"]
    folders = [str(tools(tmp_path / "tools")), str(triton(tmp_path / "triton"))]
    path = os.pathsep.join([*folders, os.environ["PATH"]])
    with contextlib.ExitStack() as stack:

        def start(command: str, gpus: int, *arguments: str, **environment: str) -> Server:
            folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
            (folder / "ranks").mkdir(parents=True)
            given = {"PATH": path, "FAKE_TENSORRTLLM_RANKS": str(folder / "ranks"), **environment}
            words = (command, "demo", "--cache", str(tmp_path / "cache"), "--max-num-tokens", "2048", *arguments)
            server = Server(folder, gpus, words, given)
            stack.callback(server.process.wait)
            stack.callback(server.process.kill)
            return server

        yield start


@pytest.fixture
def serve(run: Callable[..., Server]) -> Callable[..., Server]:
    """`stoker serve demo` with a rank on each GPU, ready."""

    def start(ranks: int, *arguments: str, **environment: str) -> Server:
        server = run("serve", ranks, "--tensor-parallel", str(ranks), "--port", "0", *arguments, **environment)
        server.wait_until(lambda: server.ready)
        return server

    return start
