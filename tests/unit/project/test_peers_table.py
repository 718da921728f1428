"""The table of `make bench-peers`."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

PERFORMANCE = Path(__file__).parents[2] / "performance"
LOADS = ((1, 128, 32), (1, 1500, 1))


@pytest.fixture
def peers(monkeypatch):
    """Its modules are imported by their own names, as scripts do."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    from tests.performance.peers import __main__ as module

    monkeypatch.setattr(module.table, "machine", lambda: "AMD EPYC, 2 cores")
    return module


@dataclass
class Running:
    """In place of a peer's process: it takes so long for a load."""

    peer: object
    takes: float
    version: str = "1.0"
    load: float = 2.5
    rounds: int = 0
    why: str = ""

    def seconds(self, load, seed: int) -> float:
        self.rounds += load == LOADS[0]
        return self.takes

    def resident(self) -> float:
        return 1.5


@pytest.fixture
def running(peers) -> list[Running]:
    from tests.performance.peers.peer import Peer

    given = (("Stoker", "int8", 1.0), ("Stoker", "bf16", 2.0), ("llama.cpp", "Q8_0", 0.8), ("vLLM CPU", "bf16", 4.0))
    return [Running(Peer(name, bits, ()), takes) for name, bits, takes in given]


def test_every_engine_has_a_row_and_ours_are_compared_with_as_many_bits_or_fewer(peers, running):
    found = peers.measure(running, LOADS, 1, time.monotonic() + 60)
    lines = peers.text(running, found, ["transformers bf16 was not measured: it did not start."]).splitlines()
    assert lines[0].startswith("Machine: AMD EPYC, 2 cores. 20")
    assert lines[2] == "| engine | 1 stream, tokens/s | first token, 1,500 in, ms | loaded in, s | most memory, GiB |"
    assert lines[4:8] == [
        "| Stoker int8 (1.0) | 32 (0.80) | 1,000 (0.80) | 2.5 | 1.5 |",
        "| Stoker bf16 (1.0) | 16 (0.40) | 2,000 (0.40) | 2.5 | 1.5 |",
        "| llama.cpp Q8_0 (1.0) | 40 | 800 | 2.5 | 1.5 |",
        "| vLLM CPU bf16 (1.0) | 8 | 4,000 | 2.5 | 1.5 |",
    ]
    assert lines[-1].startswith("transformers bf16 was not measured")


def test_a_load_that_failed_leaves_the_others_their_figures(peers, running):
    running[0].takes = math.inf
    found = peers.measure(running, LOADS, 1, time.monotonic() + 60)
    lines = peers.text(running, found, []).splitlines()
    assert lines[4:7] == [
        "| Stoker int8 (1.0) | failed | failed | 2.5 | 1.5 |",
        "| Stoker bf16 (1.0) | 16 (0.40) | 2,000 (0.40) | 2.5 | 1.5 |",
        "| llama.cpp Q8_0 (1.0) | 40 | 800 | 2.5 | 1.5 |",
    ]


def test_nothing_is_measured_when_time_is_over(peers, running):
    peers.measure(running, LOADS, 3, time.monotonic() + 60)
    assert running[0].rounds == 3
    assert peers.measure(running, LOADS, 3, time.monotonic() - 1) == {}
    assert running[0].rounds == 3


@pytest.mark.parametrize("http", [False, True])
@pytest.mark.parametrize("shape", ["qwen2.5-0.5b", "llama-1b"])
def test_the_table_takes_the_place_of_the_last_one(peers, monkeypatch, tmp_path, shape, http):
    begin, end = peers.marks(shape, http)
    document = tmp_path / "performance.md"
    written = (PERFORMANCE.parents[1] / "docs" / "performance.md").read_text()
    document.write_text(written)
    monkeypatch.setattr(peers.table, "DOCUMENT", document)
    for content in ("first\n", "second\n"):
        peers.table.replace(begin, end, content)
    assert f"{begin}second\n{end}" in document.read_text()
    before, after = written.split(begin)
    assert document.read_text().startswith(before)
    assert document.read_text().endswith(after.split(end, 1)[1])


def test_only_what_ends_in_time_is_measured_again(peers, running, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(peers, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def takes(load, seed: int) -> float:
        now[0] += 10.0 if load == LOADS[0] else 1.0
        return now[0]

    for one in running:
        one.seconds = takes
    found = peers.measure(running, LOADS, 3, until=60.0)  # a round takes 44 s, 40 of them for the first load
    assert found[LOADS[0]] == [10.0, 20.0, 30.0, 40.0]
    assert found[LOADS[1]] == [45.0, 46.0, 47.0, 48.0]  # the second of three


def test_a_family_is_a_process_and_all_below_it(peers):
    from stoker.processes import family

    command = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline()
        parent, child = family(process.pid)
        assert parent == process.pid
        assert family(child) == [child]
        process.stdin.close()
