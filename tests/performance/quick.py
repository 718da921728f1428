"""`make bench-quick`: the rows that a commit can break, in under five minutes on a quiet machine of two cores.

    python -m tests.performance.quick [--keep]

Only ratios count, of two sides taken in turn in this run. They go to .cache/performance/quick.json and are compared
with the last release's in released.json beside this file, which `--keep` (make bench-quick KEEP=1) then replaces
(docs/releasing.md). Exits with 1 where a ratio is worse than the release's by more than a fifth: less is noise.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import compare
import table
from processes import ROOT, WORK
from random_models import QWEN2_5_0_5B, write_model
from tests.performance import __main__ as bench

from stoker.version import __version__

HERE = Path(__file__).parent
RELEASED = HERE / "released.json"
RESULT = WORK / "quick.json"
SHALLOW = {**QWEN2_5_0_5B, "num_hidden_layers": 6}  # a quarter of the layers: what the server adds weighs more


def rows() -> Iterator[bench.Row]:
    cache = WORK / "quick-cache"
    model = write_model(WORK / "quick-shape", SHALLOW)
    settings = bench.engine_settings(model, cache, "int8")
    yield bench.measured(bench.warm_start, model, cache, settings)
    for row in bench.through_http(model, cache, "int8", settings):
        yield bench.shown(row)
    yield bench.measured(bench.api_cost)


def better(row: bench.Row) -> float:
    """The ratio, such that more is better."""
    return 1 / row.ratio if row.smaller else row.ratio


def main(arguments: list[str]) -> int:
    began = time.monotonic()
    warn_if_busy()
    WORK.mkdir(parents=True, exist_ok=True)
    now = {row.what: round(better(row), 3) for row in rows()}
    RESULT.write_text(json.dumps(now, indent=2) + "\n")
    print(f"{RESULT}: {len(now)} ratios in {time.monotonic() - began:.0f} s")
    text, holds = compare.compared(now, RELEASED)
    print(text)
    if "--keep" in arguments:
        compare.keep(now, RELEASED, __version__, table.machine())
        print(f"kept for the next release: commit {RELEASED.relative_to(ROOT)}")
    return int(not holds)


def warn_if_busy() -> None:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 2:
        print(
            f"warning: this machine is busy (load {load:.1f} on {cores} cores): these ratios are no basis for a release"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
