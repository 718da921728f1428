"""Which engines have come up here with a whole warm-up, so that later starts need not prove once more that they fit.

`warmed.json` beside the engines: hints like timings. What cannot be read or written is as if nothing had been warmed,
and of two processes that write at once the later one wins.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from stoker.json_text import parse_json
from stoker.plan.types import Plan
from stoker.store.engine import Manifest
from stoker.store.workspace import write_whole
from stoker.version import __version__

_NAME = "warmed.json"
_KEPT = 64


def warmed_key(plan: Plan, engine: Manifest) -> str:
    """Of all that the memory of the largest step of an engine on a CPU depends on: the engine, how it is driven, and
    the machine."""
    cpu = plan.machine.cpu
    here = [__version__, cpu.name, cpu.cores, cpu.isa, cpu.memory_limit]
    what = [engine.key, engine.versions, asdict(plan.chosen), asdict(plan.memory.kv)]
    return hashlib.sha256(json.dumps([here, what], sort_keys=True, default=str).encode()).hexdigest()[:24]


class Warmed:
    """Of the engines under one cache directory; the last ones."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._path = cache / _NAME

    def __contains__(self, key: str) -> bool:
        return key in self._read()

    def add(self, key: str) -> None:
        kept = [*(each for each in self._read() if each != key), key][-_KEPT:]
        with contextlib.suppress(OSError):
            (self._cache / "tmp").mkdir(parents=True, exist_ok=True)
            write_whole(self._path, json.dumps(kept, indent=1), self._cache / "tmp")

    def _read(self) -> list[str]:
        with contextlib.suppress(OSError, ValueError):
            found = parse_json(self._path.read_bytes())
            return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
        return []
