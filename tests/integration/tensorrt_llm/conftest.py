"""`stoker` on GPUs that NVML makes up: its builds by the stand-ins for TensorRT-LLM's tools, its engines in real Triton
with the stand-in for the C++ backend."""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.served import Started
from tests.waiting import wait_until

from stoker.processes import process_lives

HERE = Path(__file__).parent


class Server(Started):
    """A `stoker` process on made-up GPUs."""

    def __init__(self, folder: Path, gpus: int, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.ranks = Path(environment["FAKE_TENSORRTLLM_RANKS"])
        program = [sys.executable, str(HERE / "serve_on_gpus.py"), str(gpus)]
        super().__init__([*program, *arguments], folder / "server.log", environment)

    def open(self, **body: Any) -> Any:
        document = {"model": "demo", "prompt": "Once", "ignore_eos": True, **body}
        request = urllib.request.Request(f"{self.url}/v1/completions", json.dumps(document).encode())
        request.add_header("Content-Type", "application/json")
        return urllib.request.urlopen(request, timeout=60)

    def pids(self) -> list[int]:
        """Of the Triton servers, rank by rank."""
        return [int(path.read_text()) for path in self.ranks.iterdir()]


def backends(folder: Path) -> list[int]:
    """Living processes of the stand-in that was laid out there."""
    program, found = str(folder / "triton" / "backends").encode(), []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if program in path.read_bytes() and process_lives(int(path.parent.name)):
                found.append(int(path.parent.name))
    return found


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
    wait_until(lambda: not backends(tmp_path), "without the stand-in's processes")


@pytest.fixture
def serve(run: Callable[..., Server]) -> Callable[..., Server]:
    """`stoker serve demo` with a rank on each GPU, ready."""

    def start(ranks: int, *arguments: str, **environment: str) -> Server:
        server = run("serve", ranks, "--tensor-parallel", str(ranks), "--port", "0", *arguments, **environment)
        server.wait_until(lambda: server.ready)
        return server

    return start
