"""`stoker serve` over the stand-in for tensorrt_llm, in real Triton laid out as NVIDIA's image has it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[2]
SECONDS = 120


class Server:
    """`kind`'s profile of the demo model on `gpus` made-up GPUs, the build and all."""

    def __init__(self, folder: Path, gpus: int, *wishes: str) -> None:
        pytest.importorskip("pytriton")
        self.folder = folder
        self.log, self.heard = folder / "server.log", folder / "tensorrt_llm.jsonl"
        make_triton = runpy.run_path(str(TESTS / "fake_tensorrtllm_backend" / "image.py"))["make_triton"]
        triton = make_triton(folder / "triton")
        profile = ["--profile", "tensorrt_llm_pytorch-bf16-throughput"]
        cache = ["--port", "0", "--cache", str(folder / "cache")]
        command = [sys.executable, str(Path(__file__).with_name("stoker_on_gpus.py")), str(gpus)]
        with self.log.open("w") as file:
            self.process = subprocess.Popen(
                [*command, "serve", "demo", *profile, *wishes, *cache],
                stdout=file,
                stderr=file,
                env={
                    **os.environ,
                    "PATH": f"{triton}{os.pathsep}{os.environ['PATH']}",
                    "PYTHONPATH": str(TESTS / "fake_tensorrt_llm"),
                    "FAKE_TENSORRT_LLM_LOG": str(self.heard),
                },
            )

    @property
    def url(self) -> str:
        found = re.search(r"at (http://\S+:\d+)", self.log.read_text())
        return found[1] if found else ""

    @property
    def entries(self) -> list[dict[str, Any]]:
        """What the stand-in heard."""
        return [json.loads(line) for line in self.heard.read_text().splitlines()]

    def requests(self) -> list[dict[str, Any]]:
        return [entry["request"] for entry in self.entries if "request" in entry]

    def status(self, path: str) -> int:
        try:
            return int(urllib.request.urlopen(self.url + path, timeout=10).status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def wait_until(self, condition) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def open(self, path: str, **body: Any):
        request = urllib.request.Request(f"{self.url}/v1/{path}", json.dumps({"model": "demo", **body}).encode())
        request.add_header("Content-Type", "application/json")
        return urllib.request.urlopen(request, timeout=60)

    def complete(self, **body: Any) -> dict[str, Any]:
        with self.open("completions", prompt="Once", ignore_eos=True, **body) as answer:
            return json.load(answer)

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as page:
            found = re.search(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", page.read().decode(), re.MULTILINE)
        assert found, name
        return float(found[1])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


@contextlib.contextmanager
def served(folder: Path, gpus: int, *wishes: str) -> Iterator[Server]:
    server = Server(folder, gpus, *wishes)
    try:
        server.wait_until(lambda: server.url and server.status("/v1/health/ready") == 200)
        yield server
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("one"), 1, "--max-num-tokens", "2048", "--max-seq-len", "2048") as one:
        yield one


@pytest.fixture
def on_two(tmp_path) -> Iterator[Server]:
    with served(tmp_path, 2, "--tensor-parallel", "2", "--max-num-tokens", "2048", "--max-seq-len", "2048") as two:
        yield two
