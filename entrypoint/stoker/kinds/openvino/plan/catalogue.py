"""Reads and checks the profiles of OpenVINO: profiles/*.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stoker.kinds.openvino.plan.profile import (
    Activation,
    CpuLimits,
    MemoryConstants,
    OpenvinoProfile,
    Requirements,
    Steps,
)
from stoker.kinds.openvino.plan.rules import PROFILE_RULES, RULES
from stoker.plan.catalogue import catalogue_directory, read_file, schema
from stoker.plan.located import Located, parse
from stoker.plan.validate import Rule, check_fields, problem, whole

_TOP_LEVEL: Mapping[str, Rule] = {
    "schema": schema,
    "common": lambda value: "" if isinstance(value, dict) else f"{value!r} is not a mapping",
    "profiles": lambda value: "" if isinstance(value, list) and value else "is not a list of profiles",
}


def load_catalogue(directory: Path | None = None) -> tuple[OpenvinoProfile, ...]:
    """Every profile of every *.yaml file, by order and name. Raises UsageError that names file, line and field."""
    files = sorted((directory or catalogue_directory()).glob("*.yaml"))
    found = [entry for file in files for entry in read_profiles(read_file(file), file.name)]
    _check_unique(found)
    return tuple(sorted((profile for profile, _, _ in found), key=lambda profile: (profile.order, profile.name)))


_Found = tuple[OpenvinoProfile, str, Located]


def read_profiles(text: str, file: str) -> list[_Found]:
    """The profiles of one file, each with the file's name and its lines."""
    top = parse(text, file)
    _check_top(top, file)
    common = top.value.get("common", Located({}, 1))
    return [_profile(common.merged(entry), file) for entry in top.value["profiles"].value]


def _check_top(top: Located, file: str) -> None:
    rules = dict(_TOP_LEVEL)
    if isinstance(top.value, dict) and "common" not in top.value:
        del rules["common"]
    check_fields(file, top, rules)


def _profile(located: Located, file: str) -> _Found:
    check_fields(file, located, RULES)
    profile = profile_from(located.plain())
    for rule in PROFILE_RULES:
        if blamed := rule(profile):
            field, reason = blamed
            raise problem(file, located.value[field].line, field, reason)
    return profile, file, located


def profile_from(fields: Mapping[str, Any]) -> OpenvinoProfile:
    """From fields that have been checked."""
    lists = {name: tuple(fields[name]) for name in ("purposes", "kv_precisions")}
    activation = tuple(
        Activation(entry["precision"], tuple(entry.get("isa_any", ()))) for entry in fields["activation"]
    )
    nested: dict[str, Any] = {
        "activation": activation,
        "activation_precisions": tuple(entry.precision for entry in activation),
        "requires": Requirements(**{name: tuple(value) for name, value in fields["requires"].items()}),
        "limits": CpuLimits(**{name: steps_from(value) for name, value in fields["limits"].items()}),
        "memory": MemoryConstants(**fields["memory"]),
    }
    return OpenvinoProfile(**{**fields, **lists, **nested})


def steps_from(value: Any) -> Steps:
    if not whole(0)(value):
        return Steps((), value)
    return Steps(tuple((step["cores"], step["value"]) for step in value[:-1]), value[-1]["value"])


def _check_unique(found: Sequence[_Found]) -> None:
    names: dict[str, str] = {}
    orders: dict[tuple[str, tuple[str, ...], str, int], str] = {}
    for profile, file, located in found:
        if profile.name in names:
            why = f"{profile.name} stands in {names[profile.name]} already"
            raise problem(file, located.value["name"].line, "name", why)
        place = (profile.engine, profile.purposes, profile.goal, profile.order)
        if place in orders:
            raise problem(file, located.value["order"].line, "order", f"{profile.order} is that of {orders[place]} too")
        names[profile.name] = file
        orders[place] = profile.name
