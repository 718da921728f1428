"""Clients that leave, and long mixed load: nothing is kept, nothing grows."""

from __future__ import annotations

import os
import random
import re
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares, per hour."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return 3600 * sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


@pytest.mark.skipif(not os.environ.get("SOAK"), reason="make soak")
def test_memory_and_descriptors_stay_flat(start, load, record_property) -> None:
    """SOAK_SECONDS of mixed load, 1800 unless told; the first third is warm-up."""
    seconds = float(os.environ.get("SOAK_SECONDS", "1800"))
    server = start("demo")
    server.wait_ready()
    right = {tokens: load.right_answers(server.port, tokens) for tokens in (8, 64)}
    pids = {"api": server.process.pid, "stub": server.stub()}
    samples: dict[str, list[tuple[float, float]]] = {}
    latency: list[tuple[float, float]] = []
    stop = threading.Event()

    def measure_latency() -> None:
        while not stop.is_set():
            began = time.monotonic()
            if load.ask(server.port, "Who are you?", 8)[0] == "done":
                latency.append((began, time.monotonic() - began))

    with load.Load(server.port, right[8], 8, 6) as short, load.Load(server.port, right[64], 64, 6) as long:
        watcher = threading.Thread(target=measure_latency)
        watcher.start()
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < seconds:
            time.sleep(2)
            if elapsed < seconds / 3:
                continue
            for name, pid in pids.items():
                samples.setdefault(f"{name} MB", []).append((elapsed, resident(pid) / 1e6))
                samples.setdefault(f"{name} descriptors", []).append((elapsed, descriptors(pid)))
        stop.set()
        watcher.join()
    slopes = {name: round(slope(points), 2) for name, points in samples.items()}
    figures = {"seconds": seconds, "per_hour": slopes, "p99_by_third": p99_by_third(latency)}
    record_property("figures", figures)
    print(f"{figures} {dict(short.outcomes)} {dict(long.outcomes)}")
    assert short.wrong == long.wrong == []
    for name, points in samples.items():
        grown = slopes[name] * seconds * 2 / 3 / 3600
        assert grown < max(8.0, 0.03 * points[0][1]), f"{name} grew: {figures}"
    assert server.stop() == 0


def p99_by_third(latency: list[tuple[float, float]]) -> list[float]:
    third = len(latency) // 3
    parts = [sorted(seconds for _, seconds in latency[at * third : (at + 1) * third]) for at in range(3)]
    return [round(part[int(0.99 * len(part))], 3) for part in parts if part]
