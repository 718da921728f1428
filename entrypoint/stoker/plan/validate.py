"""What a profile may say: one small rule a field. A rule gives the reason against a value, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from stoker.errors import UsageError
from stoker.nearest import did_you_mean
from stoker.plan.located import Located
from stoker.plan.profile import (
    ACTIVATION_PRECISIONS,
    AUTOMATIC,
    CHECKPOINTS,
    DEVICES,
    ENGINES,
    GOALS,
    KV_PRECISIONS,
    ON_REQUEST,
    PRECISIONS,
    Profile,
)
from stoker.plan.types import PURPOSES

Rule = Callable[[Any], str]


def one_of(names: Iterable[str]) -> Rule:
    known = tuple(names)

    def rule(value: Any) -> str:
        return "" if value in known else f"unknown name {value!r}; {did_you_mean(str(value), known)}"

    return rule


def whole(least: int) -> Rule:
    def rule(value: Any) -> str:
        return "" if type(value) is int and value >= least else f"{value!r} is not a whole number of at least {least}"

    return rule


def fraction(value: Any) -> str:
    right = type(value) in (int, float) and 0 < value <= 1
    return "" if right else f"{value!r} is not a number above 0 and up to 1"


def text(value: Any) -> str:
    return "" if isinstance(value, str) and value.strip() else f"{value!r} is not a text"


def profile_name(value: Any) -> str:
    right = isinstance(value, str) and re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", value)
    return "" if right else f"{value!r} is not a name of lower-case letters, digits, '_', '.' and '-'"


def list_of(rule: Rule, least: int = 0) -> Rule:
    def check(value: Any) -> str:
        if not isinstance(value, list) or len(value) < least:
            return f"{value!r} is not a list" + (f" of at least {least}" if least else "")
        return next(filter(None, map(rule, value)), "")

    return check


def steps(least: int) -> Rule:
    """A number, or a list of {cores, value} of which only the last has no `cores`."""

    def check(value: Any) -> str:
        if not isinstance(value, list):
            return whole(least)(value)
        if not value or not all(isinstance(step, dict) for step in value):
            return f"{value!r} is neither a number nor a list of {{cores, value}}"
        return next(filter(None, map(step_problem, value)), "") or _order_problem(value)

    def step_problem(step: Mapping[str, Any]) -> str:
        if not set(step) <= {"cores", "value"}:
            return f"{step!r} has other names than cores and value"
        return whole(least)(step.get("value"))

    return check


def _order_problem(value: list[Mapping[str, Any]]) -> str:
    cores = [step.get("cores") for step in value]
    limits = [limit for limit in cores[:-1] if type(limit) is int]
    if len(limits) != len(cores) - 1 or limits != sorted(set(limits)) or cores[-1] is not None:
        return "every step but the last needs cores, in rising order"
    return ""


def capability(value: Any) -> str:
    right = value is None or (isinstance(value, list) and len(value) == 2 and not any(map(whole(0), value)))
    return "" if right else f"{value!r} is neither null nor [major, minor]"


def checkpoints(value: Any) -> str:
    if not isinstance(value, dict) or not value:
        return f"{value!r} is not a mapping of checkpoint kinds"
    problems = [one_of(CHECKPOINTS)(kind) or one_of((AUTOMATIC, ON_REQUEST))(when) for kind, when in value.items()]
    return next(filter(None, problems), "")


def activation(value: Any) -> str:
    problem = list_of(_activation_entry, 1)(value)
    return problem or ("the last entry must have no isa_any" if value[-1].get("isa_any") else "")


def _activation_entry(value: Any) -> str:
    if not isinstance(value, dict) or not set(value) <= {"precision", "isa_any"}:
        return f"{value!r} is not {{precision, isa_any}}"
    return one_of(ACTIVATION_PRECISIONS)(value.get("precision")) or list_of(text)(value.get("isa_any", []))


_LIMITS: Mapping[str, Rule] = {
    "max_batch_size": steps(1),
    "max_num_tokens": steps(1),
    "max_seq_len": steps(1),
    "min_batch_size": steps(1),
    "comfortable_seq_len": steps(1),
    "min_seq_len": steps(1),
    "tokens_per_sequence": steps(1),
    "min_tokens_per_sequence": steps(1),
    "dense_max_batch_size": steps(1),
}
_MEMORY: Mapping[str, Rule] = {
    "available_fraction": fraction,
    "kv_fraction": fraction,
    "kv_block_tokens": whole(1),
    "runtime_bytes": whole(0),
    "runtime_bytes_per_vocabulary_entry": whole(0),
    "per_intermediate": whole(0),
    "per_attention": whole(0),
    "per_hidden": whole(0),
    "logits_bytes": whole(0),
    "logits_burst_bytes": whole(0),
    "logits_burst_sequences": whole(0),
    "score_rows": whole(0),
    "source": text,
}
_REQUIRES: Mapping[str, Rule] = {
    "device": one_of(DEVICES),
    "isa_any": list_of(text),
    "isa_none": list_of(text),
    "min_compute_capability": capability,
}
RULES: Mapping[str, Rule | Mapping[str, Rule]] = {
    "name": profile_name,
    "engine": one_of(ENGINES),
    "purposes": list_of(one_of(PURPOSES), 1),
    "precision": one_of(PRECISIONS),
    "goal": one_of(GOALS),
    "order": whole(0),
    "group_size": whole(0),
    "checkpoints": checkpoints,
    "kv_precision": one_of(KV_PRECISIONS),
    "kv_precisions": list_of(one_of(KV_PRECISIONS), 1),
    "activation": activation,
    "requires": _REQUIRES,
    "limits": _LIMITS,
    "memory": _MEMORY,
}


def check_fields(file: str, located: Located, rules: Mapping[str, Any] = RULES, path: str = "") -> None:
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


def _check_field(file: str, child: Located, rule: Any, path: str) -> None:
    if isinstance(rule, Mapping):
        check_fields(file, child, rule, f"{path}.")
    elif reason := rule(child.plain()):
        raise problem(file, child.line, path, reason)


def problem(file: str, line: int, field: str, reason: str) -> UsageError:
    return UsageError(f"{file}, line {line}, field {field}: {reason}", remedy="profiles/README.md explains the fields")


# Rules over several fields of one profile: the field to blame and the reason, or None.


def _kv_precision_is_offered(profile: Profile) -> tuple[str, str] | None:
    offered = profile.kv_precision in profile.kv_precisions
    return None if offered else ("kv_precision", f"{profile.kv_precision} is not among kv_precisions")


def _group_size_suits_precision(profile: Profile) -> tuple[str, str] | None:
    if (profile.group_size > 0) == profile.precision.startswith("int4"):
        return None
    return "group_size", f"{profile.group_size} does not go with precision {profile.precision}"


def _comfort_is_above_minimum(profile: Profile) -> tuple[str, str] | None:
    lowest, comfortable = profile.limits.min_seq_len.otherwise, profile.limits.comfortable_seq_len.otherwise
    return None if lowest <= comfortable else ("limits", f"min_seq_len {lowest} is above comfortable_seq_len")


def _gpu_names_capability(profile: Profile) -> tuple[str, str] | None:
    named = profile.requires.min_compute_capability is not None
    return None if named == (profile.requires.device == "gpu") else ("requires", "min_compute_capability is for GPUs")


PROFILE_RULES = (
    _kv_precision_is_offered,
    _group_size_suits_precision,
    _comfort_is_above_minimum,
    _gpu_names_capability,
)
