"""`make bench-quick`: the rows that a commit can break, in under five minutes on a quiet machine of two cores.

    python -m tests.performance.quick [--keep]

Only ratios count, of two sides taken in turn in this run. They go to .cache/performance/quick.json and are compared
with the last release's in released.json beside this file, which `--keep` replaces (docs/releasing.md). Exits with 1
where a ratio is worse than the release's by more than a fifth: less is noise.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from compare import worse
from processes import WORK
from random_models import QWEN2_5_0_5B, write_model
from tests.performance import __main__ as bench

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
    WORK.mkdir(parents=True, exist_ok=True)
    now = {row.what: round(better(row), 3) for row in rows()}
    RESULT.write_text(json.dumps(now, indent=2) + "\n")
    print(f"{RESULT}: {len(now)} ratios in {time.monotonic() - began:.0f} s")
    if "--keep" in arguments:
        shutil.copy(RESULT, RELEASED)
    if not RELEASED.exists():
        print("nothing to compare with: no release has kept its ratios yet")
        return 0
    found = worse(now, json.loads(RELEASED.read_text()))
    print("\n".join(found) or "no ratio is worse than the last release's")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
