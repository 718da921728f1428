"""The real API process over compiled engines, on GPUs that NVML makes up: planned, built, served, drained."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("pytriton")
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
