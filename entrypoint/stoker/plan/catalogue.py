"""Finds and reads the profile catalogue: `stoker/plan/profiles` in a wheel, `profiles` in a source checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stoker.errors import UsageError
from stoker.plan.located import Located, parse
from stoker.plan.validate import Rules, check_fields, problem

SCHEMA = 1


def catalogue_directory() -> Path:
    """Raises UsageError when neither place exists, which is a broken installation."""
    here = Path(__file__).resolve().parent
    for directory in (here / "profiles", here.parents[2] / "profiles"):
        if directory.is_dir():
            return directory
    raise UsageError("the profile catalogue is missing", why=f"{here / 'profiles'}", remedy="install stoker again")


def schema(value: object) -> str:
    """The rule of each file's field `schema`."""
    return "" if value == SCHEMA else f"{value!r} is not {SCHEMA}"


def read_file(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file.name} cannot be read", why=str(error), remedy="install stoker again") from error


def read(file: Path, rules: Rules) -> dict[str, Any]:
    """The file's content, checked against `rules`. Raises UsageError that names file, line and field."""
    return read_text(read_file(file), file.name, rules)


def read_text(text: str, file: str, rules: Rules) -> dict[str, Any]:
    located: Located = parse(text, file)
    if not isinstance(located.value, dict):
        raise problem(file, located.line, "file", "is not a mapping")
    check_fields(file, located, rules)
    plain: dict[str, Any] = located.plain()
    return plain
