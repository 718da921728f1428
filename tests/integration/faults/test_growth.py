"""Clients that leave, and long mixed load: nothing is kept, nothing grows."""

from __future__ import annotations

import os
import random
import re
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest


def metric(server, name: str) -> float:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=30) as page:
        match = re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page.read().decode(), re.MULTILINE)
    assert match, name
    return float(match[1])


def test_clients_that_disconnect_leave_nothing_behind(start, rounds, load, record_property) -> None:
    server = start("demo", "--max-batch-size", "8")
    server.wait_ready()
    chance = random.Random(7)
    plans = [chance.uniform(0, 0.2) if number % 2 else None for number in range(rounds(200, 5000))]
    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(lambda leave: load.ask(server.port, "The sea", 32, leave)[0], plans))
    counted = {outcome: outcomes.count(outcome) for outcome in set(outcomes)}
    record_property("outcomes", counted)
    assert set(counted) <= {"done", "left"}
    server.wait_until(lambda: metric(server, "num_requests_running") == 0, "idle")
    server.wait_until(lambda: metric(server, "stoker_kv_blocks_used") == 0, "empty")
    assert metric(server, "stoker_requests_in_flight") == 0
    with ThreadPoolExecutor(8) as pool:  # every slot still serves
        again = list(pool.map(lambda _: load.ask(server.port, "The sea", 32)[0], range(8)))
    assert again == ["done"] * 8
    assert server.stop() == 0


@pytest.mark.skipif(not os.environ.get("SOAK"), reason="make soak")
def test_memory_and_descriptors_stay_flat(start, load, growth, record_property) -> None:
    """SOAK_SECONDS of mixed load, 1800 unless told; the first third is warm-up.

    What fills up and then stays is filled in it: the KV cache, whose pages are resident once they have been used, and
    what OpenVINO prepares for each size of a step.

    In f32 throughout, so that an answer is the same whatever else is in its batch: bf16 rounds by the batch, and where
    two tokens are as good as equally likely, the other one comes.
    """
    seconds = float(os.environ.get("SOAK_SECONDS", "1800"))
    server = start("demo", "--precision", "f32", "--kv-precision", "f32")
    server.wait_ready()
    load.every_step(server.port)
    known = load.questions.mixed()
    answers = load.Answers(server.port, known, load.alone(server.port, known))
    samples = growth.Samples({"api": server.process.pid, "stub": server.stub(), "triton": server.triton()})
    latency: list[float] = []
    with load.Clients(12, answers.any) as clients, load.Clients(1, timed(load, server.port, latency)):
        while time.monotonic() - samples.began < seconds:
            time.sleep(2)
            samples.take()
    points = samples.since(seconds / 3)
    slopes = {name: round(growth.slope(of), 2) for name, of in points.items()}
    figures = {
        "seconds": seconds,
        "per hour": slopes,
        "at the end": {name: round(of[-1][1], 1) for name, of in points.items()},
        "p99 by third, seconds": p99_by_third(latency),
        "outcomes": dict(clients.outcomes),
    }
    record_property("figures", figures)
    print("", *(f"{name}: {figure}" for name, figure in figures.items()), sep="\n")
    assert clients.failures == answers.wrong == []
    assert set(clients.outcomes) == {"done", "left"}
    for name, of in points.items():
        grown = slopes[name] * seconds * 2 / 3 / 3600
        assert grown < max(8.0, 0.03 * of[0][1]), f"{name} grew: {figures}"
    assert server.stop() == 0


def timed(load, port: int, latency: list[float]) -> Callable[[random.Random], str]:
    """One that asks the same short thing, and notes the seconds that it took."""

    def act(_: random.Random) -> str:
        began = time.monotonic()
        outcome, _text = load.ask(port, "Who are you?", 8)
        latency.append(time.monotonic() - began)
        return str(outcome)

    return act


def p99_by_third(latency: list[float]) -> list[float]:
    third = len(latency) // 3
    parts = [sorted(latency[at * third : (at + 1) * third]) for at in range(3)]
    return [round(part[int(0.99 * len(part))], 3) for part in parts if part]
