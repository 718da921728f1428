"""JSON files of a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stoker.errors import DamagedModelError
from stoker.json_text import parse_json

MAX_BYTES = 512 << 20  # the largest published tokenizer.json has 35 MB
_MAY_BE_INFINITE = "time_step_limit"  # of Mamba, whose published configs say Infinity


class _TwiceError(ValueError):
    """An object has a key twice."""


def read_json(path: Path, *, strict: bool = True) -> dict[str, object]:
    """Raises DamagedModelError that names the file: not JSON, not an object, or, with `strict`, an object that has a
    key twice or a number that is not finite."""
    value = _read(path, strict)
    if not isinstance(value, dict):
        raise DamagedModelError(f"{path} is damaged", why="it is not a JSON object")
    return value


def read_optional_json(path: Path) -> dict[str, object] | None:
    return read_json(path) if path.is_file() else None


def read_optional_list(path: Path) -> list[dict[str, object]] | None:
    """A list of objects; raises DamagedModelError for anything else."""
    if not path.is_file():
        return None
    value = _read(path, strict=True)
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise DamagedModelError(f"{path} is damaged", why="it is not a JSON list of objects")
    return value


def _read(path: Path, strict: bool) -> Any:
    if (size := path.stat().st_size) > MAX_BYTES:
        raise DamagedModelError(f"{path} is damaged", why=f"it has {size:,} bytes; at most {MAX_BYTES:,} are read")
    try:
        value = parse(path.read_bytes(), strict=strict)
    except ValueError as error:
        raise DamagedModelError(
            f"{path} is damaged", why=f"it is not JSON ({error})"[:300], remedy="fetch or copy the file again"
        ) from error
    if strict and (key := next(_not_finite(value), None)):
        raise DamagedModelError(
            f"{path} is damaged", why=f"{key} is not a finite number", remedy="fetch or copy the file again"
        )
    return value


def parse(text: bytes, *, strict: bool = True) -> object:
    """Raises ValueError, with `strict` also for an object that has a key twice."""
    return parse_json(text, _once if strict else None)


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _TwiceError(f"it has the key {twice[:80]!r} twice")
    return found


def _not_finite(document: object) -> Iterator[str]:
    """The names of such numbers, as in `rope_scaling.factor`."""
    waiting: list[tuple[str, object]] = [("", document)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{name}.{key}" if name else key, each) for key, each in value.items()]
        elif isinstance(value, list):
            waiting += [(name, each) for each in value]
        elif isinstance(value, float) and not math.isfinite(value) and not name.endswith(_MAY_BE_INFINITE):
            yield name or "a number"
