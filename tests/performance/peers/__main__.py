"""`make bench-peers`: our CPU engine beside llama.cpp, vLLM's CPU build and transformers, all driven directly.

    make bench-peers LLAMA=.venv-peers/bin/python VLLM=.venv-vllm/bin/python

Each peer is a process that stays loaded; for each load they take turns, so that a machine that drifts drifts for all.
A peer without an environment is left out, and the table says so. Nothing here fails on a figure. With --write the table
goes to docs/performance.md. What would not end within --minutes is not measured again, whatever --rounds says.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import table
from processes import ROOT, WORK
from random_models import write_model

HERE = Path(__file__).parent
QUICK = ((1, 16, 4), (1, 64, 1))
LOADS = ((1, 128, 32), (4, 128, 32), (1, 128, 1), (1, 1500, 1), (16, 128, 32), (32, 128, 32))
BEGIN, END = "<!-- begin: written by `make bench-peers` -->\n", "<!-- end of `make bench-peers` -->"
Load = tuple[int, int, int]
"""Streams, tokens in, tokens out."""
OURS = ("int8", "int4", "bf16")
BITS = {"int8": 8, "int4": 4, "bf16": 16, "Q8_0": 8, "Q4_0": 4}


@dataclass(frozen=True)
class Peer:
    name: str
    precision: str
    command: Sequence[str]

    @property
    def ours(self) -> bool:
        return self.name == "Stoker"


class Running:
    """A peer's process, loaded, which took `load` seconds. `why`: the reason where it is not."""

    def __init__(self, peer: Peer, log: Path) -> None:
        self.peer, self.version, self.why = peer, "", ""
        began = time.perf_counter()
        environment = {
            **os.environ,
            "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(ROOT / "entrypoint") if peer.ours else "",
        }
        with log.open("a") as errors:
            self._process = subprocess.Popen(
                peer.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            )
        self._read()
        self.load = time.perf_counter() - began
        self.version = self._read().get("ready", {}).get("version", "")
        self.why = "" if self.version else f"it did not start, see {log.name}"

    def _read(self) -> dict:
        assert self._process.stdout
        text = self._process.stdout.readline()
        return json.loads(text) if text.startswith("{") else {}

    def seconds(self, load: Sequence[int], seed: int) -> float:
        assert self._process.stdin
        self._process.stdin.write(" ".join(map(str, (*load, seed))) + "\n")
        self._process.stdin.flush()
        return float(self._read()["seconds"])

    def resident(self) -> float:
        """The most memory that the process has held, GiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 2**20

    def close(self) -> None:
        """It has nothing to lose."""
        self._process.kill()
        self._process.wait()


def peers(options: argparse.Namespace, model: Path) -> list[Peer]:
    sys.path.insert(0, str(ROOT / "entrypoint"))
    from tests.performance.__main__ import engine_settings

    found = [
        Peer("Stoker", one, [sys.executable, str(HERE / "ours.py"), str(engine_settings(model, WORK / "cache", one))])
        for one in OURS
    ]
    if options.llama:
        for one in ("Q8_0", "Q4_0"):
            command = [options.llama, str(HERE / "llama.py"), str(gguf(options.llama, model, one.lower()))]
            found.append(Peer("llama.cpp", one, [*command, str(len(os.sched_getaffinity(0)))]))
    if options.vllm:
        found.append(Peer("vLLM CPU", "bf16", [options.vllm, str(HERE / "vllm_cpu.py"), str(model)]))
        found.append(Peer("transformers", "bf16", [options.vllm, str(HERE / "transformers_generate.py"), str(model)]))
    return found


def gguf(python: str, model: Path, stored: str) -> Path:
    """Written once."""
    path = WORK / f"{model.name}-{stored}.gguf"
    if not path.exists():
        passing = path.with_suffix(".part")
        subprocess.run([python, str(HERE / "gguf_model.py"), str(model), stored, str(passing)], check=True)
        passing.rename(path)
    return path


def measure(running: Sequence[Running], loads: Sequence[Load], rounds: int, until: float) -> dict[Load, list[float]]:
    """Median seconds of each, by load. `until`, of time.monotonic: no load is measured again that would end later, nor
    begins later."""
    found: dict[Load, list[list[float]]] = {load: [] for load in loads}
    took = dict.fromkeys(loads, 0.0)
    for turn in range(1, rounds + 1):
        for place, (load, turns) in enumerate(found.items()):
            began = time.monotonic()
            if began + took[load] <= until:  # a seed for each: engines that keep prompts would know another load's
                turns.append([one.seconds(load, seed=1000 * turn + place) for one in running])
                took[load] = time.monotonic() - began
                print(json.dumps({"load": load, "seconds": turns[-1]}), flush=True)
    measured = {load: list(zip(*turns, strict=True)) for load, turns in found.items() if turns}
    return {load: [statistics.median(each) for each in turns] for load, turns in measured.items()}


def figure(load: Sequence[int], seconds: float) -> float:
    """Tokens/s, or of a load of one token the milliseconds until it came."""
    streams, _, new = load
    return seconds * 1e3 if new == 1 else streams * new / seconds


def ratio(load: Sequence[int], running: Sequence[Running], seconds: Sequence[float], place: int) -> str:
    """Of ours to the best peer of as many bits or fewer."""
    own = BITS[running[place].peer.precision]
    rivals = [
        value
        for one, value in zip(running, seconds, strict=True)
        if not one.peer.ours and BITS[one.peer.precision] <= own
    ]
    return f" ({min(rivals) / seconds[place]:.2f})" if running[place].peer.ours and rivals else ""


def heading(load: Sequence[int]) -> str:
    streams, prompt, new = load
    if new == 1:
        return f"first token, {prompt:,} in, ms"
    return f"{streams} stream{'s' if streams > 1 else ''}, tokens/s"


def text(running: Sequence[Running], found: dict[Load, list[float]], left_out: Sequence[str]) -> str:
    lines = [
        f"Machine: {table.machine()}. {date.today().isoformat()}, load {os.getloadavg()[1]:.1f} over 5 minutes.",
        "",
    ]
    headings = ["engine", *map(heading, found), "loaded in, s", "most memory, GiB"]
    lines += [row(headings), "|---" * len(headings) + "|"]
    for place, one in enumerate(running):
        cells = [digits(figure(load, found[load][place])) + ratio(load, running, found[load], place) for load in found]
        name = f"{one.peer.name} {one.peer.precision} ({one.version})"
        lines.append(row([name, *cells, f"{one.load:.1f}", f"{one.resident():.1f}"]))
    return "\n".join([*lines, *([""] if left_out else []), *left_out])


def digits(value: float) -> str:
    """Three that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Our CPU engine beside its peers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=8.5, help="by when the last round is to end")
    parser.add_argument("--llama", default="", metavar="PYTHON", help="with llama-cpp-python, gguf and numpy")
    parser.add_argument("--vllm", default="", metavar="PYTHON", help="with vLLM's CPU build and transformers")
    parser.add_argument("--quick", action="store_true", help="two small loads, to see that all of it runs")
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    WORK.mkdir(parents=True, exist_ok=True)
    model = write_model(WORK / "qwen2.5-0.5b-shape")
    started = [Running(peer, WORK / "peers.log") for peer in peers(options, model)]
    try:
        running = [one for one in started if not one.why]
        left_out = [f"{one.peer.name} {one.peer.precision} was not measured: {one.why}." for one in started if one.why]
        for name, given in (("llama.cpp", options.llama), ("vLLM and transformers", options.vllm)):
            left_out += [] if given else [f"{name}: not measured, no environment was given."]
        loads = QUICK if options.quick else LOADS
        found = measure(running, loads, options.rounds, until)
        left_out += [f"{heading(load)}: not measured, for lack of time." for load in loads if load not in found]
        written = text(running, found, left_out)
    finally:
        for one in started:
            one.close()
    print(written)
    if options.write:
        table.replace(BEGIN, END, f"{written}\n")


if __name__ == "__main__":
    main()
