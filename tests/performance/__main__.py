"""`make bench`: measures side by side in one run and writes the table of docs/performance.md.

Every figure is a ratio of medians, the two sides taken in turn so that a machine that drifts drifts for both. Nothing
here fails on a figure; the bound that we set ourselves stands beside each.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import table
from bandwidth import read_bandwidth
from emitter import measure_api_cost
from guided import measure as measure_guided
from processes import WORK, Direct, http_load, optimum_export, served, torch_generate
from random_models import write_model

ROUNDS = 3
PROMPT, NEW = 128, 64
BASELINE_PROMPT, BASELINE_NEW = 32, 128


@dataclass(frozen=True)
class Row:
    """`ours` and `theirs` are medians; `bound` is what `ratio` must be at least (or at most, when `smaller`)."""

    what: str
    unit: str
    ours: float
    theirs: float
    bound: float
    smaller: bool = False

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    @property
    def holds(self) -> bool:
        return self.ratio <= self.bound if self.smaller else self.ratio >= self.bound


def medians(ours: Callable[[], float], theirs: Callable[[], float], rounds: int = ROUNDS) -> tuple[float, float]:
    """Both sides in turn; the median of each."""
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def rate(result: dict) -> float:
    return result["tokens"] / result["seconds"]


def cold_start(model: Path) -> Row:
    def ours() -> float:
        shutil.rmtree(WORK / "cold", ignore_errors=True)
        with served(model, WORK / "cold", "--precision", "int8") as server:
            return server.seconds_to_ready

    row = medians(ours, lambda: optimum_export(model))
    return Row("cold start to ready, int8, beside optimum-cli's export alone", "s", *row, 0.5, smaller=True)


def warm_start(model: Path, cache: Path, settings: Path) -> Row:
    def ours() -> float:
        with served(model, cache, "--precision", "int8") as server:
            return server.seconds_to_ready

    def theirs() -> float:
        direct = Direct(settings, PROMPT, NEW)
        direct.close()
        return direct.seconds_to_ready

    start, own = medians(ours, theirs)
    return Row(
        "warm start to ready, int8, beside the engine's own load and warm-up + 3 s", "s", start, own + 3, 1, True
    )


def through_http(model: Path, cache: Path, precision: str, settings: Path) -> Iterator[Row]:
    direct = Direct(settings, PROMPT, NEW)
    with served(model, cache, "--precision", precision) as server:
        for streams in (1, 16):
            served_rate = partial(http_rate, server.url, model.name, streams)
            ours, theirs = medians(served_rate, partial(direct_rate, direct, streams), rounds=5)
            what = f"through HTTP beside the engine driven directly, {precision}, {_streams(streams)}"
            yield Row(what, "tokens/s", ours, theirs, 0.9)
    direct.close()


def http_rate(url: str, model: str, streams: int) -> float:
    return rate(http_load(url, model, streams, PROMPT, NEW))


def direct_rate(direct: Direct, streams: int) -> float:
    return rate(direct.measure(streams))


def beside_torch(model: Path, cache: Path, precision: str, streams: int, bound: float) -> Row:
    """PyTorch in whichever of its dtypes is quicker on this machine."""

    workload = (streams, BASELINE_PROMPT, BASELINE_NEW)

    def theirs() -> float:
        return max(rate(torch_generate(model, dtype, *workload)) for dtype in ("float32", "bfloat16"))

    with served(model, cache, "--precision", precision) as server:
        row = medians(lambda: rate(http_load(server.url, model.name, *workload)), theirs)
    return Row(f"{precision} beside PyTorch, {_streams(streams)}", "tokens/s", *row, bound)


def _streams(count: int) -> str:
    return "1 stream" if count == 1 else f"{count} streams"


def engine_settings(model: Path, cache: Path, precision: str) -> Path:
    """What the server would tell Triton's model, in a file for `direct.py`."""
    from stoker.chain import make_plan_for, obtain_engine
    from stoker.kinds import kind_named
    from stoker.progress import Silent
    from stoker.settings.layers import load_settings

    flags = {"model": str(model), "cache": str(cache), "precision": precision}
    plan = make_plan_for(load_settings(flags, {}), Silent())
    engine = obtain_engine(plan, cache, Silent())
    directory = WORK / f"direct-{precision}"
    directory.mkdir(parents=True, exist_ok=True)
    child = kind_named(plan.chosen.engine).launch.open_child(engine, plan.chosen, plan.memory.kv)
    return replace(child.settings, run_directory=str(directory)).write(directory)


def rows() -> Iterator[Row]:
    model, cache = write_model(WORK / "qwen2.5-0.5b-shape"), WORK / "cache"
    settings = engine_settings(model, cache, "int8")
    yield measured(cold_start, model)
    yield measured(warm_start, model, cache, settings)
    for row in through_http(model, cache, "int8", settings):
        yield shown(row)
    yield measured(beside_torch, model, cache, "bf16", 1, 2.4)
    yield measured(beside_torch, model, cache, "int4", 1, 4.3)
    yield measured(beside_torch, model, cache, "int8", 16, 3.0)
    yield from beside_guided(cache)
    yield measured(api_cost)


def api_cost() -> Row:
    what = "tokens/s of the API beside a bare gRPC client, emitting engine"
    ours, theirs = measure_api_cost(medians)
    return Row(what, "tokens/s", ours, theirs, 0.7)


def beside_guided(cache: Path) -> Iterator[Row]:
    """Free streams of the demo model beside ones under JSON schemas, over the same beside free ones."""
    with served("demo", cache) as server:
        for fresh in (False, True):
            found = asyncio.run(measure_guided(f"{server.url}/v1", fresh=fresh))
            what = f"free streams beside as many under {'new' if fresh else 'known'} JSON schemas, beside free ones"
            yield shown(Row(what, "tokens/s", found["beside_guided"], found["beside_free"], 0.8))


def measured(measure: Callable[..., Row], *arguments: object) -> Row:
    return shown(measure(*arguments))


def shown(row: Row) -> Row:
    print(json.dumps({"what": row.what, "ours": row.ours, "theirs": row.theirs, "ratio": row.ratio}), flush=True)
    return row


def bandwidth_note(bf16: Row) -> str:
    """How far one stream of the bf16 engine, which reads the whole file for each token, is from the memory's limit."""
    read = (WORK / "qwen2.5-0.5b-shape" / "model.safetensors").stat().st_size * bf16.ours
    limit = read_bandwidth()
    share = f"{read / 1e9:.1f} of the {limit / 1e9:.1f} GB/s that both cores together can read ({read / limit:.0%})"
    return f"One stream of bf16 reads {share}; no engine that reads its weights in bf16 can be quicker than that limit."


def main() -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    measured_rows = list(rows())
    (bf16,) = [row for row in measured_rows if row.what.startswith("bf16 ")]
    table.write(measured_rows, bandwidth_note(bf16))


if __name__ == "__main__":
    main()
