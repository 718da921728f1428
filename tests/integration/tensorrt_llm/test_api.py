"""The real API process over compiled engines, on GPUs that NVML makes up: planned, launched, drained and measured."""

from __future__ import annotations

import contextlib
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.resolve.local import DEMO_DIRECTORY

pytest.importorskip("pytriton")
HERE = Path(__file__).parent
IMAGE = runpy.run_path(str(HERE.parents[1] / "fake_tensorrtllm_backend" / "image.py"))
RANKS = [
    1,
    pytest.param(
        2,
        marks=pytest.mark.skipif(
            shutil.which("mpirun") is None, reason="several ranks need mpirun: apt install openmpi-bin"
        ),
    ),
]
SECONDS = 120


class Server:
    def __init__(self, folder: Path, ranks: int) -> None:
        self.log, self.ranks = folder / "server.log", folder / "ranks"
        self.ranks.mkdir()
        stored = IMAGE["make_engine"](folder / "stored", ranks)
        for file in DEMO_DIRECTORY.iterdir():
            if file.suffix in (".json", ".jinja") and file.name != "config.json":
                shutil.copy(file, stored)
        path = f"{IMAGE['make_triton'](folder / 'triton')}{os.pathsep}{os.environ['PATH']}"
        wishes = ["--tensor-parallel", str(ranks), "--max-num-tokens", "2048", "--port", "0"]
        arguments = [str(ranks), str(stored), "serve", "demo", *wishes, "--cache", str(folder / "cache")]
        with self.log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "serve_on_gpus.py"), *arguments],
                stdout=file,
                stderr=file,
                env={**os.environ, "PATH": path, "FAKE_TENSORRTLLM_RANKS": str(self.ranks)},
            )

    @property
    def url(self) -> str:
        found = re.search(r"at (http://\S+:\d+)", self.log.read_text())
        return found[1] if found else ""

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

    def open(self, **body):
        document = {"model": "demo", "prompt": "Once", "ignore_eos": True, **body}
        request = urllib.request.Request(f"{self.url}/v1/completions", json.dumps(document).encode())
        request.add_header("Content-Type", "application/json")
        return urllib.request.urlopen(request, timeout=60)

    def pids(self) -> list[int]:
        return [int(path.read_text()) for path in self.ranks.iterdir()]


@pytest.fixture
def serve(tmp_path) -> Iterator:
    with contextlib.ExitStack() as stack:

        def start(ranks: int) -> Server:
            server = Server(tmp_path, ranks)
            stack.callback(server.process.wait)
            stack.callback(server.process.kill)
            server.wait_until(lambda: server.url and server.status("/v1/health/ready") == 200)
            return server

        yield start


def events(stream) -> list[str]:
    return re.findall(r"^data: (.*)$", stream.read().decode(), re.MULTILINE)


@pytest.mark.parametrize("ranks", RANKS)
def test_it_answers_measures_and_drains(serve, ranks):
    server = serve(ranks)
    with server.open(max_tokens=12) as answer:
        completion = json.load(answer)
    assert completion["usage"]["completion_tokens"] == 12
    assert completion["choices"][0]["finish_reason"] == "length"
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as page:
        assert re.search(r"^stoker_kv_blocks\{[^}]*\} [1-9]", page.read().decode(), re.MULTILINE)
    pids = server.pids()
    with server.open(max_tokens=1500, stream=True) as stream:
        stream.readline()
        server.process.send_signal(signal.SIGTERM)
        received = events(stream)
    assert received[-1] == "[DONE]"
    assert json.loads(received[-2])["choices"][0]["finish_reason"] == "length"
    assert server.process.wait(SECONDS) == 0
    assert len(pids) == ranks
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.parametrize("ranks", RANKS[1:])
def test_a_dead_rank_is_an_error_to_the_client_and_then_all_is_well(serve, ranks):
    server = serve(ranks)
    with server.open(max_tokens=1900, stream=True) as stream:
        stream.readline()
        os.kill(server.pids()[-1], signal.SIGKILL)
        assert json.loads(events(stream)[-1])["error"]["type"]
    server.wait_until(lambda: "restarting it" in server.log.read_text())
    server.wait_until(lambda: server.status("/v1/health/ready") == 200)
    with server.open(max_tokens=3) as answer:
        assert json.load(answer)["usage"]["completion_tokens"] == 3
