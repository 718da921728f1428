"""Finds, reads and checks the profile catalogue: `stoker/plan/profiles` in a wheel, `profiles` in a source checkout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stoker.errors import UsageError
from stoker.plan.located import Located, parse
from stoker.plan.profile import Activation, Limits, MemoryConstants, Profile, Requirements, Steps
from stoker.plan.validate import PROFILE_RULES, Rule, check_fields, problem, whole

SCHEMA = 1
_TOP_LEVEL: Mapping[str, Rule] = {
    "schema": lambda value: "" if value == SCHEMA else f"{value!r} is not {SCHEMA}",
    "common": lambda value: "" if isinstance(value, dict) else f"{value!r} is not a mapping",
    "profiles": lambda value: "" if isinstance(value, list) and value else "is not a list of profiles",
}


def catalogue_directory() -> Path:
    """Raises UsageError when neither place exists, which is a broken installation."""
    here = Path(__file__).resolve().parent
    for directory in (here / "profiles", here.parents[2] / "profiles"):
        if directory.is_dir():
            return directory
    raise UsageError("the profile catalogue is missing", why=f"{here / 'profiles'}", remedy="install stoker again")


def load_catalogue(directory: Path | None = None) -> tuple[Profile, ...]:
    """Every profile of every *.yaml file, by order and name. Raises UsageError that names file, line and field."""
    files = sorted((directory or catalogue_directory()).glob("*.yaml"))
    found = [entry for file in files for entry in _read(file)]
    _check_unique(found)
    return tuple(sorted((profile for profile, _, _ in found), key=lambda profile: (profile.order, profile.name)))


_Found = tuple[Profile, str, Located]


def _read(file: Path) -> list[_Found]:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file.name} cannot be read", why=str(error)) from error
    return read_profiles(text, file.name)


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
    check_fields(file, located)
    profile = profile_from(located.plain())
    for rule in PROFILE_RULES:
        if blamed := rule(profile):
            field, reason = blamed
            raise problem(file, located.value[field].line, field, reason)
    return profile, file, located


def profile_from(fields: Mapping[str, Any]) -> Profile:
    """From fields that have been checked."""
    lists = {name: tuple(fields[name]) for name in ("purposes", "kv_precisions")}
    activation = tuple(
        Activation(entry["precision"], tuple(entry.get("isa_any", ()))) for entry in fields["activation"]
    )
    nested: dict[str, Any] = {
        "activation": activation,
        "requires": _requirements(fields["requires"]),
        "limits": Limits(**{name: steps_from(value) for name, value in fields["limits"].items()}),
        "memory": MemoryConstants(**fields["memory"]),
    }
    return Profile(**{**fields, **lists, **nested})


def _requirements(fields: Mapping[str, Any]) -> Requirements:
    capability = fields["min_compute_capability"]
    return Requirements(
        fields["device"],
        tuple(fields["isa_any"]),
        tuple(fields["isa_none"]),
        None if capability is None else (capability[0], capability[1]),
    )


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
