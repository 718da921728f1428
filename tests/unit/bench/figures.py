"""Reports made by hand, for tests of what is computed and drawn from them."""

from __future__ import annotations

from stoker.bench.types import Load, Measured, Memory, NotRun, Phase, Report, Spread, Start, Workload

START = Start(3.0, (Phase("building", 1.0), Phase("loading", 0.5)))


def load(streams: int, rate: float, first: float = 0.2, between: float = 0.05, shared: int = 0) -> Load:
    return Load(streams, shared, rate, (rate,), Spread(first, first), Spread(between, between), Spread(0, 0), 0.1)


def measured(kind: str, precision: str, *loads: Load, speculative: str = "off") -> Measured:
    memory = Memory(10**9, 2 * 10**9, 0)
    return Measured(kind, precision, f"{kind}-{precision}", 4096, 32, START, 1.0, START, memory, loads, speculative)


def report(*cases: Measured, not_run: tuple[NotRun, ...] = ()) -> Report:
    from stoker.bench.statistics import baseline_of, ratios

    workload = Workload(128, 64, (1, 16), (0,), 3, 1)
    baseline = baseline_of(cases, {"torch"})
    name = baseline.name if baseline else ""
    return Report("0", "tiny", "a machine", workload, cases, name, ratios(cases, baseline), not_run)
