"""What a build worker is told: a job, as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.plan.types import Chosen
from stoker.resolve.model import Architecture, Model, Pooling, Quantization, Weights


@dataclass(frozen=True)
class Site:
    """What of this machine a build may use: the UUIDs of the plan's `gpus`, how many ranks' engines its memory holds at
    once, and where to leave the `logs` of a build that fails (empty: nowhere)."""

    gpus: tuple[str, ...] = ()
    ranks_at_once: int = 1
    logs: str = ""


@dataclass(frozen=True)
class Job:
    """Build `model` as `chosen` into `directory`. `calibration` is the user's text, empty for the package's."""

    model: Model
    chosen: Chosen
    directory: str
    calibration: str = ""
    site: Site = Site()


def as_json(job: Job) -> dict[str, Any]:
    """Plain values only: a `Path` becomes text, a tuple a list."""
    plain: dict[str, Any] = _plain(job)
    return plain


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def job_from(document: Mapping[str, Any]) -> Job:
    chosen = {**document["chosen"], "devices": tuple(document["chosen"]["devices"])}
    site = Site(**{**document["site"], "gpus": tuple(document["site"]["gpus"])})
    return Job(model_from(document["model"]), Chosen(**chosen), document["directory"], document["calibration"], site)


def model_as_json(model: Model) -> dict[str, Any]:
    """Its facts; neither config.json, which an engine holds itself, nor where its files were."""
    plain: dict[str, Any] = _plain(dataclasses.replace(model, directory=None, files=(), config={}))
    return plain


def model_from(document: Mapping[str, Any]) -> Model:
    quantization, pooling = document["quantization"], document.get("pooling")
    weights = {**document["weights"], "files": tuple(document["weights"]["files"])}
    return Model(
        **{
            **document,
            "architecture": Architecture(**document["architecture"]),
            "weights": Weights(**weights),
            "directory": Path(document["directory"]) if document["directory"] else None,
            "files": tuple(document["files"]),
            "quantization": Quantization(**quantization) if quantization else None,
            "pooling": Pooling(**pooling) if pooling else None,
        }
    )
