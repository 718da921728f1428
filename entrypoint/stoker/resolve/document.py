"""A model as JSON: what an engine's manifest and a build job hold of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stoker.plain import plain
from stoker.resolve.model import Architecture, Model, Pooling, Quantization, Weights


def model_as_json(model: Model) -> dict[str, Any]:
    """The facts; neither config.json, which an engine holds itself, nor where its files were."""
    document: dict[str, Any] = plain(dataclasses.replace(model, directory=None, files=(), config={}))
    return document


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
