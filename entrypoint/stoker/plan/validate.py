"""What files of the catalogue may say: one small rule a field. A rule gives the reason against a value, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias, TypeGuard

from stoker.errors import UsageError
from stoker.nearest import did_you_mean
from stoker.plan.located import Located

Rule: TypeAlias = Callable[[object], str]
Rules: TypeAlias = "Mapping[str, Rule | Rules]"
"""Of a mapping's fields, and of the fields of those that are mappings."""


def one_of(names: Iterable[str]) -> Rule:
    known = tuple(names)

    def rule(value: object) -> str:
        return "" if value in known else f"unknown name {value!r}; {did_you_mean(str(value), known)}"

    return rule


def whole(least: int) -> Rule:
    def rule(value: object) -> str:
        return "" if type(value) is int and value >= least else f"{value!r} is not a whole number of at least {least}"

    return rule


def is_number(value: object) -> TypeGuard[float]:
    return type(value) in (int, float)


def fraction(value: object) -> str:
    right = is_number(value) and 0 < value <= 1
    return "" if right else f"{value!r} is not a number above 0 and up to 1"


def text(value: object) -> str:
    return "" if isinstance(value, str) and value.strip() else f"{value!r} is not a text"


def capability(value: object) -> str:
    return "" if re.fullmatch(r"\d+\.\d", str(value)) else f"{value!r} is not a compute capability like 8.0"


def capability_of(version: str) -> tuple[int, int]:
    """Of a text that keeps the rule above."""
    major, _, minor = version.partition(".")
    return int(major), int(minor)


def profile_name(value: object) -> str:
    right = isinstance(value, str) and re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", value)
    return "" if right else f"{value!r} is not a name of lower-case letters, digits, '_', '.' and '-'"


def list_of(rule: Rule, least: int = 0) -> Rule:
    def check(value: object) -> str:
        if not isinstance(value, list) or len(value) < least:
            return f"{value!r} is not a list" + (f" of at least {least}" if least else "")
        return next(filter(None, map(rule, value)), "")

    return check


def number(value: object) -> str:
    right = is_number(value) and value > 0
    return "" if right else f"{value!r} is not a number above 0"


def mapping_of(key: Rule, value: Rule) -> Rule:
    def rule(entries: object) -> str:
        if not isinstance(entries, dict):
            return f"{entries!r} is not a mapping"
        problems = (key(name) or value(entry) for name, entry in entries.items())
        return next(filter(None, problems), "")

    return rule


def fields_of(rules: Mapping[str, Rule], optional: tuple[str, ...] = ()) -> Rule:
    """A mapping of exactly these fields; the optional ones may be missing."""

    def rule(entry: object) -> str:
        if not isinstance(entry, dict):
            return f"{entry!r} is not a mapping"
        if unknown := sorted(set(entry) - set(rules)):
            return f"unknown field {unknown[0]}"
        if missing := sorted(set(rules) - set(entry) - set(optional)):
            return f"{missing[0]} is missing"
        problems = (f"{name}: {reason}" for name, value in entry.items() if (reason := rules[name](value)))
        return next(problems, "")

    return rule


def either(first: Rule, second: Rule) -> Rule:
    """`second`, unless the value is a text."""
    return lambda value: first(value) if isinstance(value, str) else second(value)


def check_fields(file: str, located: Located, rules: Rules, path: str = "") -> None:
    """Raises UsageError that names file, line and field for the first that is unknown, missing or wrong."""
    if not isinstance(located.value, dict):
        raise problem(file, located.line, path.rstrip(".") or "profile", f"{located.plain()!r} is not a mapping")
    for name, child in located.value.items():
        if name not in rules:
            raise problem(file, child.line, path + name, f"unknown field; {did_you_mean(name, rules)}")
    for name, rule in rules.items():
        if name not in located.value:
            raise problem(file, located.line, path + name, "is missing")
        _check_field(file, located.value[name], rule, path + name)


def _check_field(file: str, child: Located, rule: Rule | Rules, path: str) -> None:
    if isinstance(rule, Mapping):
        check_fields(file, child, rule, f"{path}.")
    elif reason := rule(child.plain()):
        raise problem(file, child.line, path, reason)


def problem(file: str, line: int, field: str, reason: str) -> UsageError:
    return UsageError(f"{file}, line {line}, field {field}: {reason}", remedy="profiles/README.md explains the fields")
