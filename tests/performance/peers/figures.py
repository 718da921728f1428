"""The table of what was measured."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from datetime import date

from tests.performance import table
from tests.performance.peers.peer import BITS, Load, Measured


def text(running: Sequence[Measured], found: Mapping[Load, Sequence[float]], notes: Sequence[str]) -> str:
    """`found`: seconds of each that runs, by load."""
    lines = [
        f"Machine: {table.machine()}. {date.today().isoformat()}, load {os.getloadavg()[1]:.1f} over 5 minutes.",
        "",
    ]
    headings = ["engine", *map(heading, found), "loaded in, s", "most memory, GiB"]
    lines += [row(headings), "|---" * len(headings) + "|"]
    for place, one in enumerate(running):
        cells = [cell(load, found[load][place]) + ratio(running, found[load], place) for load in found]
        name = f"{one.peer.name} {one.peer.precision} ({one.version})"
        lines.append(row([name, *cells, f"{one.load:.1f}", f"{one.resident():.1f}"]))
    return "\n".join([*lines, *([""] if notes else []), *notes])


def heading(load: Load) -> str:
    streams, prompt, new = load
    if new == 1:
        return f"first token, {prompt:,} in, ms"
    return f"{streams} stream{'s' if streams > 1 else ''}, tokens/s"


def cell(load: Load, seconds: float) -> str:
    return digits(figure(load, seconds)) if math.isfinite(seconds) else "failed"


def figure(load: Load, seconds: float) -> float:
    """Tokens/s, or of a load of one token the milliseconds until it came."""
    streams, _, new = load
    return seconds * 1e3 if new == 1 else streams * new / seconds


def ratio(running: Sequence[Measured], seconds: Sequence[float], place: int) -> str:
    """Of ours to the best peer of as many bits or fewer."""
    own = BITS[running[place].peer.precision]
    rivals = [
        value
        for one, value in zip(running, seconds, strict=True)
        if not one.peer.ours and BITS[one.peer.precision] <= own
    ]
    best = min(rivals, default=math.inf)
    compared = running[place].peer.ours and math.isfinite(best) and math.isfinite(seconds[place])
    return f" ({best / seconds[place]:.2f})" if compared else ""


def digits(value: float) -> str:
    """Three that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
