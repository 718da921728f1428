"""JSON files of a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stoker.errors import DamagedModelError


def read_json(path: Path) -> dict[str, Any]:
    """Raises DamagedModelError that names the file."""
    value = _read(path)
    if not isinstance(value, dict):
        raise DamagedModelError(f"{path} is damaged", why="it is not a JSON object")
    return value


def read_optional_json(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.is_file() else None


def read_optional_list(path: Path) -> list[dict[str, Any]] | None:
    """A list of objects; raises DamagedModelError for anything else."""
    if not path.is_file():
        return None
    value = _read(path)
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise DamagedModelError(f"{path} is damaged", why="it is not a JSON list of objects")
    return value


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DamagedModelError(
            f"{path} is damaged", why=f"it is not JSON ({error})", remedy="fetch or copy the file again"
        ) from error
