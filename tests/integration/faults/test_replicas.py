"""Two copies of an engine, one of which is killed under load: only what it was answering ends."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import urllib.request
from collections import Counter
from typing import Any

import pytest

STREAMS = 16
TOKENS = 32


def read(server, path: str) -> Any:
    with urllib.request.urlopen(f"{server.url}{path}", timeout=30) as answer:
        return json.load(answer)


def replicas(server) -> list[dict[str, Any]]:
    return list(read(server, "/v1/status")["replicas"])


def all_ready(server) -> bool:
    return [one["state"] for one in replicas(server)] == ["ready"] * len(replicas(server))


def restarts(server) -> int:
    return sum(one["restarts"] for one in replicas(server))


def stubs(server) -> list[int]:
    return [pid for pid, name in server.children().items() if name.startswith("triton_python")]


class Readiness:
    """Asks for it all the time, until the block ends."""

    def __init__(self, server) -> None:
        self.server = server
        self.seen: Counter[int] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._stop.wait(0.02):
            self.seen[self.server.status("/v1/health/ready")] += 1

    def __enter__(self) -> Readiness:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def two(start):
    server = start("demo", "--replicas", os.environ.get("REPLICAS", "2"), "--restart-limit", "1000")
    server.wait_ready()
    return server


def test_a_killed_replica_takes_only_its_own_requests_with_it(two, load, rounds):
    where = [sorted(os.sched_getaffinity(pid)) for pid in stubs(two)]
    assert sorted(where) == sorted(one["cpus"] for one in replicas(two))
    right = load.right_answers(two.port, TOKENS)
    answers = load.Answers(two.port, load.completions(TOKENS), right)
    chance, count = random.Random(3), len(replicas(two))
    for number in range(rounds(2, 50)):
        with Readiness(two) as readiness, load.Clients(STREAMS, answers.one) as clients:
            two.wait_until(lambda clients=clients: clients.outcomes["done"] >= STREAMS, "under load")
            os.kill(chance.choice(stubs(two)), signal.SIGKILL)
            done = clients.outcomes["done"]
            two.wait_until(lambda clients=clients, done=done: clients.outcomes["done"] >= done + STREAMS, "serving on")
            two.wait_until(lambda number=number: restarts(two) == number + 1 and all_ready(two), "whole again")
        outcomes = clients.outcomes
        assert clients.failures == []
        assert answers.wrong == []
        assert set(outcomes) <= {"done", "error", "refused"}, "a connection broke"
        assert 1 <= outcomes["error"] + outcomes["refused"] <= STREAMS // count + 2, "more than its own requests"
        assert set(readiness.seen) == {200}
        assert restarts(two) == number + 1
    with urllib.request.urlopen(f"{two.url}/metrics", timeout=30) as page:
        text = page.read().decode()
    assert all(f'stoker_replica_ready{{replica="{number}"}} 1.0' in text for number in range(count))
    assert read(two, "/v1/health/startup")["replicas"] == ["ready"] * count
