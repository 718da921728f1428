"""What the multiplexed stream does for a fast engine: tokens/s and CPU time, with it and without.

    python multiplexed.py [STREAMS:STEP_MS:TOKENS...]

The engine (emitter_model.py) gives one token to each sequence in each step of the given length; all else is real: HTTP,
our API, Triton and the stub. Both variants run in turn, three times each; the table has the medians.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processes import http_load

HERE = Path(__file__).parent
PROMPT, ROUNDS = 8, 3
LOADS = ("16:0:1900", "16:5:500", "64:10:300", "256:25:120")


@contextmanager
def emitting(variant: str, step_ms: str) -> Iterator[dict]:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{HERE}:{os.environ.get('PYTHONPATH', '')}",
        "EMITTER_STEP_MS": step_ms,
        "EMITTER_ALONE": "1" if variant == "alone" else "",
    }
    command = [sys.executable, str(HERE / "emitter.py"), "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdin
        assert server.stdout
        yield {**json.loads(server.stdout.readline()), "pid": server.pid}
        server.stdin.close()


def cpu_seconds(pid: int) -> tuple[float, float]:
    """User and system time of the API process, and of all below it (Triton and the stub)."""
    times, parents = {}, {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        process = int(entry.parent.name)
        parents[process] = int(fields[1])
        times[process] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    below, queue = 0.0, [pid]
    while queue:
        parent = queue.pop()
        children = [process for process, above in parents.items() if above == parent]
        below += sum(times[child] for child in children)
        queue += children
    return times[pid], below


def measure(variant: str, load: str) -> tuple[float, float, float]:
    """Tokens/s, and CPU seconds for 100,000 tokens of the API process and of Triton with its stub."""
    streams, step_ms, tokens = load.split(":")
    with emitting(variant, step_ms) as server:
        http_load(server["url"], "demo", int(streams), PROMPT, int(tokens))  # warms
        before = cpu_seconds(server["pid"])
        result = http_load(server["url"], "demo", int(streams), PROMPT, int(tokens))
        after = cpu_seconds(server["pid"])
    api, below = ((end - begin) / result["tokens"] * 100_000 for begin, end in zip(before, after, strict=True))
    return result["tokens"] / result["seconds"], api, below


def main(loads: list[str]) -> None:
    print("| streams, step | | tokens/s | API, CPU s per 100,000 tokens | Triton and stub |\n|---|---|---|---|---|")
    for load in loads:
        figures: dict[str, list[tuple[float, float, float]]] = {"alone": [], "multiplexed": []}
        for _ in range(ROUNDS):
            for variant, rows in figures.items():
                rows.append(measure(variant, load))
        streams, step_ms, _ = load.split(":")
        for variant, rows in figures.items():
            rate, api, below = (statistics.median(column) for column in zip(*rows, strict=True))
            print(f"| {streams}, {step_ms} ms | {variant} | {rate:,.0f} | {api:.1f} | {below:.1f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(LOADS))
