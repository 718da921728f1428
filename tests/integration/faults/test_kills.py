"""kill -9 at random moments of a start, and of every process under load; and an engine that stops moving."""

from __future__ import annotations

import http.client
import os
import random
import shutil
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.leftovers import left_by
from tests.loading import load as load_module

from stoker.processes import process_lives
from stoker.resolve.local import DEMO_DIRECTORY

chain_life = load_module("faults_chain_life", Path(__file__).parents[1] / "chain" / "test_life.py")

TOKENS = 24
F32 = ("--precision", "f32", "--kv-precision", "f32")
MOMENTS = ("downloading", "building", "publishing", "loading", "warming")


def leftovers(cache: Path) -> list[str]:
    """Of runs that are over: in the cache, in shared memory, and among the processes' own directories."""
    found = [path for name in ("tmp", "locks", "partial") for path in (cache / name).glob("*")]
    found += list(cache.rglob("*.incomplete"))
    return [str(path) for path in found]


def wait_for(server, moment: str) -> None:
    """publishing is the end of building: the engine is written. A start that was quicker is ready."""
    wanted = " writing the engine" if moment == "publishing" else f" {moment}"  # downloading is not loading
    server.wait_until(lambda: wanted in server.output or "serving org/demo" in server.output, moment)


REPOSITORY = "org/demo"


@pytest.fixture
def start_hub(hub_server, monkeypatch: pytest.MonkeyPatch):
    """Starts the hub's stand-in with the demo model, which servers use from then on."""
    with ExitStack() as stack:

        def begin():
            hub = stack.enter_context(hub_server.HubServer())
            files = {path.name: path.read_bytes() for path in DEMO_DIRECTORY.iterdir() if path.is_file()}
            hub.add_repository(REPOSITORY, files)
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            monkeypatch.setenv("NO_PROXY", "*")
            return hub

        yield begin


@pytest.fixture
def hub(start_hub):
    """A little slow, so that a download has moments."""
    hub = start_hub()
    hub.pause = 0.001
    return hub


def test_kill_9_at_random_moments_of_a_start(start, hub, rounds, load, tmp_path: Path, record_property) -> None:
    reference = start(REPOSITORY, cache=tmp_path / "reference")
    reference.wait_ready()
    right = load.right_answers(reference.port, TOKENS)
    engine = {path.name: path.read_bytes() for path in (tmp_path / "reference" / "engines").glob("*/openvino_model.*")}
    reference.stop()
    moments = []
    for number in range(rounds(3, 50)):
        cache = tmp_path / f"cache-{number}"
        moment = MOMENTS[number % len(MOMENTS)]
        victim = start(REPOSITORY, cache=cache)
        wait_for(victim, moment)
        time.sleep(random.uniform(0, 0.6))
        victim.process.kill()
        victim.process.wait()
        moments.append(moment)
        following = start(REPOSITORY, cache=cache)
        following.wait_ready()
        assert load.right_answers(following.port, TOKENS) == right
        assert following.stop() == 0
        assert {path.name: path.read_bytes() for path in (cache / "engines").glob("*/openvino_model.*")} == engine
        assert leftovers(cache) == []
        assert left_by(victim.process.pid, following.process.pid) == []
        shutil.rmtree(cache)
    record_property("moments", moments)


@pytest.mark.parametrize("moment", MOMENTS[1:])
def test_sigterm_at_any_phase_ends_it_cleanly(start, hub, tmp_path: Path, moment) -> None:
    server = start(REPOSITORY, cache=tmp_path)
    wait_for(server, moment)
    assert_stops(server)
    assert left_by(server.process.pid) == leftovers(tmp_path) == []


def assert_stops(server) -> None:
    """It drains if it is ready by now, and else says which step was stopped."""
    code = server.stop()
    if "drained in" in server.output:
        assert code == 0
    else:
        assert code == 143
        assert "was stopped after" in server.output


def test_sigterm_keeps_what_was_downloaded(start, hub, start_hub, tmp_path: Path) -> None:
    hub.pause = 0.01
    server = start(REPOSITORY, cache=tmp_path)
    server.wait_until(lambda: "downloading" in server.output and partial_bytes(tmp_path) > 0, "downloading")
    assert server.stop() == 143
    assert "downloading was stopped after" in server.output
    assert left_by(server.process.pid) == []
    assert all(path.endswith(".incomplete") for path in leftovers(tmp_path))
    kept = partial_bytes(tmp_path)
    another = start_hub()  # the first may still be sending to a server that has exited, and counts that
    following = start(REPOSITORY, cache=tmp_path)
    wait_for(following, "building")
    assert another.content_bytes == total_bytes() - kept
    assert_stops(following)


def partial_bytes(cache: Path) -> int:
    """Of the weights, as far as they have come."""
    return sum(path.stat().st_size for path in cache.rglob("*.incomplete"))


def total_bytes() -> int:
    return (DEMO_DIRECTORY / "model.safetensors").stat().st_size


def test_a_second_signal_ends_a_drain_at_once_and_the_next_start_clears_up(start) -> None:
    server = start("demo")
    server.wait_ready()
    with chain_life.open_stream(server, 1900) as response:
        server.process.send_signal(signal.SIGTERM)
        server.wait_until(lambda: "draining 1 requests" in server.output, "draining")
        assert server.stop() == 143
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    following = start("demo")
    following.wait_ready()
    assert left_by(server.process.pid) == []
    assert following.stop() == 0


KINDS = ("stub", "triton", "wedge", "api")


def test_processes_killed_and_stopped_under_load(start, cache: Path, rounds, load, record_property) -> None:
    """The stub killed, Triton killed, the stub stopped, and the API's process killed, with which all of it goes: errors
    are clean, and no answer is wrong. In f32, whose answers do not depend on what else is in the batch."""
    run = Run(lambda port=None: start("demo", *F32, "--engine-timeout", "3", "--restart-limit", "100000", port=port))
    known = load.completions(TOKENS)
    answers = load.Answers(run.server.port, known, load.alone(run.server.port, known))
    recovery: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with load.Clients(16, answers.one) as clients:
        for number in range(rounds(4, 100)):
            kind = KINDS[number % len(KINDS)]
            time.sleep(random.uniform(0.2, 1.0))
            began, closed = time.monotonic(), clients.outcomes["closed"]
            run.suffer(kind)
            recovery[kind].append(time.monotonic() - began)
            print(f"{number + 1} {kind} {recovery[kind][-1]:.1f} s", flush=True)
            wait_for_answers(run.server, clients)
            assert kind == "api" or clients.outcomes["closed"] == closed, "a client was hung up on by a living server"
    figures = {kind: (round(min(seen), 1), round(max(seen), 1), len(seen)) for kind, seen in recovery.items() if seen}
    record_property("seconds_until_ready", figures)
    record_property("outcomes", dict(clients.outcomes))
    print(f"\nseconds until ready again (least, most, rounds): {figures}; requests: {dict(clients.outcomes)}")
    assert clients.failures == answers.wrong == []
    assert set(clients.outcomes) <= {"done", "refused", "error", "closed"}
    assert run.server.stop() == 0
    assert leftovers(cache) == left_by(run.server.process.pid) == []


class Run:
    """A server that is ready; `start` is given the port."""

    def __init__(self, start) -> None:
        self._start = start
        self.server = start()
        self.server.wait_ready()

    def suffer(self, kind: str) -> None:
        """Returns when it is ready again."""
        if kind == "api":
            self._begin_again()
        else:
            pid = self.server.triton() if kind == "triton" else self.server.stub()
            fault(self.server, pid, signal.SIGSTOP if kind == "wedge" else signal.SIGKILL)

    def _begin_again(self) -> None:
        killed, children = self.server, self.server.children()
        killed.process.kill()
        killed.process.wait()
        self.server = self._start(killed.port)
        self.server.wait_ready()
        self.server.wait_until(lambda: not any(map(process_lives, children)), f"alone, without one of {children}")
        assert left_by(killed.process.pid) == []
        assert "found the engine" in self.server.output


def fault(server, pid: int, number: int) -> None:
    """Returns when the server is ready again."""
    restarts = server.output.count("restarting it")
    os.kill(pid, number)
    server.wait_until(lambda: server.output.count("restarting it") > restarts, "restarting")
    server.wait_ready()


def wait_for_answers(server, clients) -> None:
    done = clients.outcomes["done"]
    server.wait_until(lambda: clients.outcomes["done"] > done, "answering")
