"""The name of an engine: a digest of everything that changes its bytes, behind a prefix for people."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from stoker.plan.types import Chosen, Plan
from stoker.probe.machine import Machine
from stoker.store.engine import SCHEMA

_DIGEST_CHARACTERS = 16


def key_inputs(
    plan: Plan, choices: Mapping[str, object], versions: Mapping[str, str], calibration: Path | None = None
) -> dict[str, object]:
    """What the key is computed from; kept in engine.json, so that two keys can be compared by eye. `choices`: what of
    the plan changes what is built, as the engine's kind says."""
    return {
        "schema": SCHEMA,
        "model": {"revision": plan.model.revision, "architecture": plan.model.architecture.name},
        "build": dict(choices),
        "versions": dict(versions),
        "calibration": _calibration_digest(calibration),
        "hardware": _hardware(plan.machine, plan.chosen),
    }


def engine_key(name: str, chosen: Chosen, inputs: Mapping[str, object]) -> str:
    """MODEL-KIND-PRECISION-DIGEST, for example `qwen2.5-0.5b-instruct-KIND-int8-3f9c0d2b7a1e4c55`."""
    return f"{_slug(name)}-{chosen.engine}-{chosen.precision}-{digest_of(inputs)}"


def digest_of(inputs: Mapping[str, object]) -> str:
    """The last part of the key; the same for inputs that were read back from engine.json."""
    canonical = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:_DIGEST_CHARACTERS]


def _hardware(machine: Machine, chosen: Chosen) -> dict[str, object]:
    if not chosen.devices:
        return {"architecture": machine.cpu.architecture, "isa": sorted(machine.cpu.isa)}
    gpus = [gpu for gpu in machine.gpus if gpu.index in chosen.devices]
    return {"gpus": sorted((gpu.name, gpu.compute_capability) for gpu in gpus)}


def _calibration_digest(calibration: Path | None) -> str:
    """A digest over the texts the user gave, by content alone; empty for the packaged text, which the version names."""
    if calibration is None:
        return ""
    files = sorted(path for path in calibration.rglob("*") if path.is_file()) if calibration.is_dir() else [calibration]
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _slug(name: str) -> str:
    last = name.rsplit("/", 1)[-1].lower()
    return re.sub(r"[^a-z0-9._]+", "-", last).strip("-.") or "model"
