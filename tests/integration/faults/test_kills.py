"""kill -9 at random moments of a start, and of every process under load; and an engine that stops moving."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest

from stoker.resolve.local import DEMO_DIRECTORY

TOKENS = 24
MOMENTS = ("downloading", "building", "publishing", "loading", "warming")


def leftovers(cache: Path) -> list[str]:
    """Of runs that are over: in the cache, in shared memory, and among the processes' own directories."""
    found = [path for name in ("tmp", "locks", "partial") for path in (cache / name).glob("*")]
    found += list(cache.rglob("*.incomplete"))
    return [str(path) for path in found]


def shared_memory(*servers) -> list[str]:
    """What these servers, all of which are over, have left in shared memory and of their own directories."""
    owners = [f"-{server.process.pid}-" for server in servers]
    places = (path for folder in ("/dev/shm", tempfile.gettempdir()) for path in Path(folder).glob("stoker-*"))
    return [str(path) for path in places if any(owner in path.name for owner in owners)]


def wait_for(server, moment: str) -> None:
    """publishing is the end of building: the engine is written. A start that was quicker is ready."""
    wanted = "writing the engine" if moment == "publishing" else moment
    server.wait_until(lambda: wanted in server.output or "serving org/demo" in server.output, moment)


@pytest.fixture
def repository(hub_server, monkeypatch: pytest.MonkeyPatch):
    """The demo model at the hub's stand-in, a little slowly, so that a download has moments."""
    with hub_server.HubServer() as hub:
        files = {path.name: path.read_bytes() for path in DEMO_DIRECTORY.iterdir() if path.is_file()}
        hub.add_repository("org/demo", files)
        hub.pause = 0.001
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("NO_PROXY", "*")
        yield "org/demo"


def test_kill_9_at_random_moments_of_a_start(start, repository, rounds, load, tmp_path: Path, record_property) -> None:
    reference = start(repository, cache=tmp_path / "reference")
    reference.wait_ready()
    right = load.right_answers(reference.port, TOKENS)
    engine = {path.name: path.read_bytes() for path in (tmp_path / "reference" / "engines").glob("*/openvino_model.*")}
    reference.stop()
    moments = []
    for number in range(rounds(3, 50)):
        cache = tmp_path / f"cache-{number}"
        moment = MOMENTS[number % len(MOMENTS)]
        victim = start(repository, cache=cache)
        wait_for(victim, moment)
        time.sleep(random.uniform(0, 0.6))
        victim.process.kill()
        victim.process.wait()
        moments.append(moment)
        following = start(repository, cache=cache)
        following.wait_ready()
        assert load.right_answers(following.port, TOKENS) == right
        assert following.stop() == 0
        assert {path.name: path.read_bytes() for path in (cache / "engines").glob("*/openvino_model.*")} == engine
        assert leftovers(cache) == []
        assert shared_memory(victim, following) == []
        shutil.rmtree(cache)
    record_property("moments", moments)


def test_processes_killed_and_stopped_under_load(start, rounds, load, record_property) -> None:
    """The stub killed, Triton killed, the stub stopped: errors are clean, and no answer is wrong."""
    server = start("demo", "--engine-timeout", "3", "--restart-limit", "100000")
    server.wait_ready()
    right = load.right_answers(server.port, TOKENS)
    recovery: dict[str, list[float]] = {"stub": [], "triton": [], "wedge": []}
    with load.Load(server.port, right, TOKENS) as streams:
        for number in range(rounds(3, 100)):
            kind = ("stub", "triton", "wedge")[number % 3]
            time.sleep(random.uniform(0.2, 1.0))
            began = time.monotonic()
            pid = server.stub() if kind != "triton" else triton(server)
            fault(server, pid, signal.SIGSTOP if kind == "wedge" else signal.SIGKILL)
            recovery[kind].append(time.monotonic() - began)
            wait_for_answers(server, streams)
    figures = {kind: (round(min(seen), 1), round(max(seen), 1)) for kind, seen in recovery.items() if seen}
    record_property("seconds_until_ready", figures)
    record_property("outcomes", dict(streams.outcomes))
    print(f"seconds until ready again (least, most): {figures}; requests: {dict(streams.outcomes)}")
    assert streams.wrong == []
    assert set(streams.outcomes) <= {"done", "refused", "error"}
    assert server.stop() == 0


def fault(server, pid: int, number: int) -> None:
    """Returns when the server is ready again."""
    restarts = server.output.count("restarting it")
    os.kill(pid, number)
    server.wait_until(lambda: server.output.count("restarting it") > restarts, "restarting")
    server.wait_ready()


def wait_for_answers(server, streams) -> None:
    done = streams.outcomes["done"]
    server.wait_until(lambda: streams.outcomes["done"] > done, "answering")


def triton(server) -> int:
    return next(pid for pid, name in server.children().items() if name.startswith("tritonserver"))


def test_the_api_process_killed_under_load(start, load) -> None:
    """All of it goes with it, clients see a closed connection, and the next start serves."""
    server = start("demo")
    server.wait_ready()
    right = load.right_answers(server.port, TOKENS)
    with load.Load(server.port, right, TOKENS) as streams:
        server.wait_until(lambda: streams.outcomes["done"] > 4, "answering")
        children = list(server.children())
        server.process.kill()
        server.process.wait()
    assert streams.wrong == []
    assert set(streams.outcomes) <= {"done", "closed"}
    following = start("demo")
    following.wait_ready()
    assert load.right_answers(following.port, TOKENS) == right
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    assert following.stop() == 0
