"""A finished engine: one directory of the store and its manifest, engine.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = 2


@dataclass(frozen=True)
class EngineFile:
    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """engine.json. `chosen` is plan.types.Chosen as a mapping, `inputs` what the key was computed from,
    `build` what the builder recorded (seconds, peak bytes, precision details), `model` the facts that a plan is made
    from (resolve.model.Model as a mapping, without config.json, which is one of the files)."""

    schema: int
    key: str
    kind: str
    served_name: str
    revision: str
    chosen: Mapping[str, Any]
    inputs: Mapping[str, Any]
    versions: Mapping[str, str]
    build: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[EngineFile, ...] = ()
    model: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Engine:
    """The directory also holds tokenizer.json, tokenizer_config.json, generation_config.json and the chat template,
    so that serving needs nothing of the model's own directory."""

    directory: Path
    manifest: Manifest
