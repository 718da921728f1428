"""What building, loading and warming engines took, so that the next start can tell how long it has left.

`timings.json` beside the engines: hints, on which no engine, no key and no decision depends. What cannot be read or
written is left alone, and of two processes that write at once the later one wins.
"""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from stoker.json_text import parse_json
from stoker.store.workspace import write_whole

_NAME = "timings.json"
_KEPT = 5
_ALIKE = 0.1  # engines whose sizes differ by no more have taken as long
_BEYOND = 2.0  # times the largest, or a part of the smallest, that were measured: further off nothing is foretold


@dataclass(frozen=True)
class Timing:
    """`bytes`: of the engine's weights. `machine`: which hardware it was measured on; a cache may be shared."""

    phase: str
    kind: str
    precision: str
    bytes: int
    seconds: float
    machine: str = ""

    @property
    def group(self) -> tuple[str, str, str, str]:
        return self.phase, self.kind, self.precision, self.machine


class Timings:
    """Of the engines under one cache directory; the last few of each kind, precision and phase."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._path = cache / _NAME

    def record(self, timings: Iterable[Timing]) -> None:
        known = sorted([*self._read(), *timings], key=lambda each: each.group)
        kept = [one for _, group in groupby(known, key=lambda each: each.group) for one in [*group][-_KEPT:]]
        with contextlib.suppress(OSError):
            write_whole(self._path, json.dumps([asdict(each) for each in kept], indent=1), self._cache / "tmp")

    def expected(self, wanted: Timing) -> float | None:
        """Seconds for an engine such as this one, whose own are not looked at, by those of the same phase, kind,
        precision and machine: the median of those of its size, else a fixed part and a part by size where several
        sizes tell both apart. None where they do not."""
        known = [each for each in self._read() if each.group == wanted.group and each.bytes > 0]
        alike = [each.seconds for each in known if _alike(each.bytes, wanted.bytes)]
        return statistics.median(alike) if alike else _by_size(known, wanted.bytes)

    def _read(self) -> list[Timing]:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            return [_timing(each) for each in parse_json(self._path.read_bytes())]
        return []


def _alike(one: int, other: int) -> bool:
    return abs(one - other) <= _ALIKE * other


def _by_size(known: Sequence[Timing], size: int) -> float | None:
    """A line through what was measured, where two sizes differ and this one is not far from them."""
    sizes = [each.bytes for each in known]
    if not sizes or _alike(min(sizes), max(sizes)) or not min(sizes) / _BEYOND <= size <= max(sizes) * _BEYOND:
        return None
    slope, fixed = statistics.linear_regression(sizes, [each.seconds for each in known])
    seconds = fixed + slope * size
    return seconds if slope >= 0 and seconds > 0 else None


def _timing(document: dict[str, Any]) -> Timing:
    phase, kind, precision = (str(document[name]) for name in ("phase", "kind", "precision"))
    machine = str(document.get("machine", ""))
    return Timing(phase, kind, precision, int(document["bytes"]), float(document["seconds"]), machine)
