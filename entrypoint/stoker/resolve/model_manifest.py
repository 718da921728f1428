"""The file that says which model was downloaded, as NVIDIA NIM's `download-to-cache --manifest-file` leaves one."""

from __future__ import annotations

import json
from pathlib import Path

from stoker.errors import DamagedModelError, StorageError, UsageError
from stoker.resolve.checkpoint import CONFIG
from stoker.resolve.json_files import read_json
from stoker.resolve.model import Model

NAME = "model_manifest.json"


def write_model_manifest(path: Path, model: Model) -> None:
    """StorageError where it cannot be written."""
    document = {
        "model": model.reference,
        "revision": model.revision,
        "directory": str(model.directory or ""),
        "files": list(model.files),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written", why=error.strerror or str(error)) from error


def read_model_manifest(path: Path) -> str:
    """The reference of the model. UsageError where there is no such file, DamagedModelError where it names none."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}", remedy="name one that download-to-cache --manifest-file wrote")
    reference = read_json(path).get("model")
    if not isinstance(reference, str) or not reference:
        raise DamagedModelError(f"{path} names no model", remedy="write it again: download-to-cache --manifest-file")
    return reference


def named_model(directory: Path) -> str | None:
    """The model of the cache that a directory without one of its own names; NIM's operator serves its cache by its
    path."""
    if (directory / CONFIG).exists() or not (directory / NAME).is_file():
        return None
    return read_model_manifest(directory / NAME)
