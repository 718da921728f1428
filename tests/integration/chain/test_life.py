"""Starting, starting again, dying and ending."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.leftovers import left_by
from tests.waiting import SECONDS

from stoker.progress import Silent
from stoker.store.lease import leased


@contextmanager
def open_stream(server, tokens: int) -> Iterator[http.client.HTTPResponse]:
    """A stream whose first event has come."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = {"model": "demo", "prompt": "Once", "max_tokens": tokens, "ignore_eos": True, "stream": True}
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    with contextlib.closing(connection), connection.getresponse() as response:
        response.readline()
        yield response


def events(response: http.client.HTTPResponse) -> list[str]:
    return re.findall(r"^data: (.*)$", response.read().decode(), re.MULTILINE)


@contextmanager
def being_built(cache: Path, other: Path) -> Iterator[None]:
    """As if another process built the demo's engine into the cache `other`: a server waits for that."""
    build = [sys.executable, "-m", "stoker", "build", "demo", "--cache", str(cache)]
    built = Path(subprocess.run(build, capture_output=True, text=True, timeout=300, check=True).stdout.strip())
    (other / "locks").mkdir(parents=True)
    with leased(other / "locks", built.name, Silent()):
        yield


def test_live_answers_long_before_ready_and_the_port_is_ours_from_the_start(start, cache, tmp_path: Path) -> None:
    with being_built(cache, tmp_path / "cache"):
        server = start("demo", cache=tmp_path / "cache")
        server.wait_until(lambda: server.status("/v1/health/live") == 200, "live")
        command = [sys.executable, "-m", "stoker", "serve", "demo", "--port", str(server.port)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert second.returncode == 64
        assert f"cannot listen on 127.0.0.1:{server.port}" in second.stderr
        assert server.status("/v1/health/ready") == 503
    server.wait_ready()


def test_a_second_start_finds_the_engine_and_builds_nothing(start, cache: Path) -> None:
    first = start("demo")
    first.wait_ready()
    engines = {path: path.stat().st_mtime_ns for path in cache.glob("engines/*/engine.json")}
    assert first.stop() == 0
    second = start("demo")
    second.wait_ready()
    assert "found the engine" in second.output
    assert {path: path.stat().st_mtime_ns for path in cache.glob("engines/*/engine.json")} == engines


def test_a_running_stream_ends_in_full_before_the_server_does(start) -> None:
    server = start("demo")
    server.wait_ready()
    children = server.children()
    with open_stream(server, 1900) as response:
        server.process.send_signal(signal.SIGTERM)
        server.wait_until(lambda: server.status("/v1/health/ready") == 503, "draining")
        received = events(response)
    assert received[-1] == "[DONE]"
    assert json.loads(received[-2])["choices"][0]["finish_reason"] == "length"
    assert server.process.wait(SECONDS) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_a_drain_that_takes_too_long_is_cut_and_says_so(start) -> None:
    server = start("demo", "--drain-timeout", "0")
    server.wait_ready()
    with open_stream(server, 1900) as response:
        assert server.stop() == 143
        assert "error" in events(response)[-1]


def test_nothing_is_left_behind_after_the_end(start) -> None:
    server = start("demo")
    server.wait_ready()
    assert any(path.startswith("/dev/shm") for path in left_by(server.process.pid))
    assert server.stop(signal.SIGINT) == 0
    assert left_by(server.process.pid) == []


def test_a_killed_stub_ends_streams_cleanly_and_the_server_comes_back(start) -> None:
    server = start("demo")
    server.wait_ready()
    with open_stream(server, 1900) as response:
        os.kill(server.stub(), signal.SIGKILL)
        last = json.loads(events(response)[-1])
    assert last["error"]["type"]
    server.wait_until(lambda: server.status("/v1/health/ready") == 503 or "restarting" in server.output, "not ready")
    server.wait_ready()
    with open_stream(server, 5) as response:
        assert json.loads(events(response)[-2])["choices"][0]["finish_reason"] == "length"


def test_ctrl_c_before_ready_ends_at_once(start, cache, tmp_path: Path) -> None:
    with being_built(cache, tmp_path / "cache"):
        server = start("demo", cache=tmp_path / "cache")
        server.wait_until(lambda: server.status("/v1/health/live") == 200, "live")
        assert server.stop(signal.SIGINT) == 130
    assert not list((tmp_path / "cache" / "tmp").glob("*"))
