"""The name of an engine: a digest of everything that changes its bytes, behind a prefix for people."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from stoker.plan.types import TEXT, Chosen, Plan
from stoker.probe.machine import Machine
from stoker.resolve.model import Model
from stoker.resolve.rope import rope_digest
from stoker.store.engine import SCHEMA

_DIGEST_CHARACTERS = 16

# These are given to the engine when it is launched; an OpenVINO graph is the same for every value of them. A compiled
# TensorRT engine is not.
_OPENVINO = (
    *("activation_precision", "devices", "kv_precision", "max_batch_size"),
    *("max_num_tokens", "max_seq_len", "profile", "threads"),
)
_LAUNCH_ONLY = {
    "tensorrt_llm": ("devices", "profile", "threads"),
    "openvino": _OPENVINO,
    "torch": tuple(field.name for field in fields(Chosen) if field.name not in ("engine", "precision", "purpose")),
}


def key_inputs(plan: Plan, versions: Mapping[str, str], calibration: Path | None = None) -> dict[str, Any]:
    """What the key is computed from; kept in engine.json, so that two keys can be compared by eye."""
    return {
        "schema": SCHEMA,
        "model": {"revision": plan.model.revision, "architecture": plan.model.architecture.name},
        "build": _build_choices(plan.chosen, plan.model),
        "versions": dict(versions),
        "calibration": _calibration_digest(calibration),
        "hardware": _hardware(plan.machine, plan.chosen),
    }


def engine_key(name: str, chosen: Chosen, inputs: Mapping[str, Any]) -> str:
    """For example `qwen2.5-0.5b-instruct-openvino-int8-3f9c0d2b7a1e4c55`."""
    return f"{_slug(name)}-{chosen.engine}-{chosen.precision}-{digest_of(inputs)}"


def digest_of(inputs: Mapping[str, Any]) -> str:
    """The last part of the key; the same for inputs that were read back from engine.json."""
    canonical = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:_DIGEST_CHARACTERS]


def _build_choices(chosen: Chosen, model: Model) -> dict[str, Any]:
    launch_only = _LAUNCH_ONLY.get(chosen.engine, ("profile", "devices"))
    choices = {name: value for name, value in asdict(chosen).items() if name not in launch_only}
    if chosen.purpose == TEXT:
        choices.pop("purpose", None)  # text engines have been named without it
    if launch_only is _OPENVINO:  # the one thing of the graph that depends on how long the context is
        choices["rope"] = rope_digest(model.config, chosen.max_seq_len)
    return choices


def _hardware(machine: Machine, chosen: Chosen) -> dict[str, Any]:
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
