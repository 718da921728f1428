"""The report as text: one table of the loads, one of starts and memory, then what was not run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stoker.bench.types import Load, Measured, Phase, Ratio, Report, Spread, named

_LOADS = ("engine", "streams", "shared", "tokens/s", "first token p50/p99", "between tokens p50/p99", "longest gap p99")
_STARTS = ("engine", "cold start", "build", "warm start", "warm start by phase", "engine memory", "GPU memory")
_KEPT = "guesses kept per step"
_SHORTEST = 0.05  # seconds; phases below are left out of the table


def render(report: Report) -> str:
    parts = [_title(report)]
    if report.measured:
        parts += [_loads(report), _starts(report.measured)]
    parts.append("\n".join(f"not run: {line}" for line in _not_run(report)))
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def _title(report: Report) -> str:
    load = report.workload
    rounds = "1 round" if load.rounds == 1 else f"median of {load.rounds} rounds"
    over = f"; x is the ratio to {report.baseline}" if report.baseline else ""
    tokens = f"prompts of {load.prompt_tokens} tokens, answers of {load.output_tokens}"
    return f"{report.model} on {report.machine}\n{tokens}, {rounds}{over}"


def _loads(report: Report) -> str:
    found = {
        (named(each.kind, each.precision, each.speculative), each.streams, each.shared_prefix): each
        for each in report.ratios
    }
    rows = [
        _load_row(each, load, found.get((each.name, load.streams, load.shared_prefix)))
        for each in report.measured
        for load in each.loads
    ]
    if all(each.speculative == "off" for each in report.measured):
        return columns([_LOADS, *rows])
    kept = [f"{load.accepted:.2f}" for each in report.measured for load in each.loads]
    return columns([(*_LOADS, _KEPT), *((*row, last) for row, last in zip(rows, kept, strict=True))])


def _load_row(measured: Measured, load: Load, ratio: Ratio | None) -> tuple[str, ...]:
    return (
        measured.name,
        str(load.streams),
        str(load.shared_prefix),
        f"{load.tokens_per_second:.1f}{_times(ratio, 'tokens_per_second')}",
        f"{_spread(load.first_token)}{_times(ratio, 'first_token')}",
        f"{_spread(load.between_tokens)}{_times(ratio, 'between_tokens')}",
        duration(load.longest_gap.p99),
    )


def _times(ratio: Ratio | None, figure: str) -> str:
    return f" ({getattr(ratio, figure):.2f}x)" if ratio else ""


def _spread(spread: Spread) -> str:
    return f"{duration(spread.p50)} / {duration(spread.p99)}"


def _starts(measured: Sequence[Measured]) -> str:
    return columns([_STARTS, *map(_start_row, measured)])


def _start_row(measured: Measured) -> tuple[str, ...]:
    cold, build, memory = measured.cold_start, measured.build_seconds, measured.memory
    return (
        measured.name,
        duration(cold.seconds) if cold else "-",
        duration(build) if build is not None else "-",
        duration(measured.warm_start.seconds),
        _phases(measured.warm_start.phases),
        f"{memory.engine_peak / 1e9:.2f} GB",
        f"{memory.gpu / 1e9:.2f} GB" if memory.gpu else "-",
    )


def _phases(phases: Sequence[Phase]) -> str:
    shown = [f"{phase.name} {duration(phase.seconds)}" for phase in phases if phase.seconds >= _SHORTEST]
    return ", ".join(shown) or "-"


def _not_run(report: Report) -> Iterator[str]:
    for each in report.not_run:
        yield f"{each.kind} {each.precision}".rstrip() + f": {each.reason}"


def duration(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right; two spaces between."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip())
    return "\n".join(lines)
