"""What `stoker tune` found, beside the engines: `tuned/KEY.json`, one file for each shape of a model, goal and machine.

Like timings these are hints. What cannot be read is as if it had not been measured.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from stoker.errors import CacheError
from stoker.json_text import parse_json
from stoker.plan.tuning import Tuned
from stoker.probe.machine import Machine
from stoker.resolve.model import Model
from stoker.store.workspace import write_whole


def tuning_key(machine: Machine, model: Model, goal: str) -> str:
    """Of what a measurement holds for: the processor as this process may use it, the GPUs, the goal, and the shape of
    the model, since speed depends on no more of it."""
    cpu = machine.cpu
    here = [cpu.architecture, cpu.name, cpu.cores, cpu.isa, [(gpu.name, gpu.memory_total) for gpu in machine.gpus]]
    stored = asdict(model.quantization) if model.quantization else {}
    what = [asdict(model.architecture), stored, goal, machine.nodes]
    return hashlib.sha256(json.dumps([here, what], sort_keys=True).encode()).hexdigest()[:24]


class TunedStore:
    """Under one cache directory."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def read(self, key: str) -> Tuned | None:
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Tuned(**parse_json(self._path(key).read_bytes()))
        return None

    def write(self, key: str, tuned: Tuned) -> Path:
        """Whole or not at all. CacheError where the cache cannot be written."""
        path, tmp = self._path(key), self._cache / "tmp"
        try:
            for folder in (path.parent, tmp):
                folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(asdict(tuned), indent=1), tmp)
        except OSError as error:
            what = f"the measurement cannot be kept in {path.parent}"
            raise CacheError(what, why=str(error), remedy="choose another --cache, or make it writable") from error
        return path

    def forget(self, key: str) -> bool:
        """Whether there was one. CacheError where it cannot be removed."""
        try:
            self._path(key).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise CacheError(f"{self._path(key)} cannot be removed", why=str(error)) from error
        return True

    def _path(self, key: str) -> Path:
        return self._cache / "tuned" / f"{key}.json"
