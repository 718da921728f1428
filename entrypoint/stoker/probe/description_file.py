"""A machine written down in YAML: the fields of `Machine`, checked one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypeVar

from stoker.errors import UsageError
from stoker.nearest import nearest
from stoker.probe.machine import Cpu, Gpu, Machine, Node
from stoker.yaml_text import YamlError, parse_yaml

T = TypeVar("T", Machine, Cpu, Gpu, Node)

_UNITS = {"": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}


def read_description(path: Path) -> Machine:
    """UsageError names file and field. Sizes may be written in bytes or as `64GiB`."""
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the machine description {path}", why=error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise UsageError(f"cannot read the machine description {path}", why="not UTF-8 text") from None
    except YamlError as error:
        raise UsageError(f"cannot read the machine description {path}", why=f"not YAML: {error}") from None
    return _build(Machine, content, f"{path}: ", "")


def _build(target: type[T], content: Any, where: str, prefix: str) -> T:
    if not isinstance(content, Mapping):
        raise UsageError(f"{where}{prefix.rstrip('.') or 'the machine'} must be a mapping")
    known = {field.name: field for field in fields(target)}
    for key in content:
        if key not in known:
            guess = nearest(str(key), known)
            raise UsageError(f"{where}unknown field {prefix}{key}", remedy=f"did you mean {guess}?" if guess else "")
    missing = [name for name, field in known.items() if name not in content and field.default is MISSING]
    if missing:
        raise UsageError(f"{where}{prefix}{missing[0]} is missing")
    values = {key: _value(known[key], value, where, prefix + key) for key, value in content.items()}
    return target(**values)


def _value(field: Field[Any], value: Any, where: str, name: str) -> Any:
    if field.type == "Cpu":
        return _build(Cpu, value, where, f"{name}.")
    if field.type == "tuple[Gpu, ...]" and isinstance(value, list):
        return tuple(_build(Gpu, item, where, f"{name}[{index}].") for index, item in enumerate(value))
    if field.type == "tuple[Node, ...]" and isinstance(value, list):
        return tuple(_build(Node, item, where, f"{name}[{index}].") for index, item in enumerate(value))
    converted = _scalar(str(field.type), value)
    if converted is None and not (value is None and str(field.type).endswith("| None")):
        raise UsageError(f"{where}{name}={value!r}", why=f"not {_EXPECTED[str(field.type)]}")
    return converted


_EXPECTED = {
    "str": "text",
    "int": "a whole number, at least 0, or a size like 64GiB",
    "bool": "true or false",
    "bool | None": "true, false or null",
    "float | None": "a number above 0, or null",
    "tuple[str, ...]": "a list of texts",
    "tuple[int, ...]": "a list of whole numbers",
    "tuple[int, int]": "a list of two whole numbers",
    "tuple[Gpu, ...]": "a list of GPUs",
    "tuple[Node, ...]": "a list of NUMA nodes",
}


def _scalar(expected: str, value: Any) -> Any:
    """The value as the field's type, None if it is not of that type."""
    if expected == "int":
        return _size(value)
    if expected == "float | None":
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
        return float(value) if is_number else None
    if expected in ("str", "bool", "bool | None"):
        return value if isinstance(value, str if expected == "str" else bool) else None
    return _tuple(expected, value)


def _tuple(expected: str, value: Any) -> tuple[Any, ...] | None:
    kind = str if expected == "tuple[str, ...]" else int
    fits = isinstance(value, list) and all(isinstance(item, kind) and not isinstance(item, bool) for item in value)
    of_mappings = expected in ("tuple[Gpu, ...]", "tuple[Node, ...]")
    right = fits and not of_mappings and (expected != "tuple[int, int]" or len(value) == 2)
    return tuple(value) if right else None


def _size(value: Any) -> int | None:
    match = re.fullmatch(r"([0-9]+)\s*([KMGT]iB)?", str(value), re.IGNORECASE)
    if match is None or isinstance(value, bool):
        return None
    return int(match[1]) * _UNITS[(match[2] or "").upper()]
