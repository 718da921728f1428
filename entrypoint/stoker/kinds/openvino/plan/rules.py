"""What the files of OpenVINO's profiles may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.kinds.openvino.plan.profile import CHECKPOINTS, OpenvinoProfile
from stoker.plan.profile import AUTOMATIC, GOALS, ON_REQUEST
from stoker.plan.types import PURPOSES
from stoker.plan.validate import Rule, fraction, list_of, one_of, profile_name, text, whole
from stoker.settings.spec import ACTIVATION_PRECISIONS, KV_PRECISIONS, PRECISIONS

NAME = "openvino"


def steps(least: int) -> Rule:
    """A number, or a list of {cores, value} of which only the last has no `cores`."""

    def check(value: object) -> str:
        if not isinstance(value, list):
            return whole(least)(value)
        if not value or not all(isinstance(step, dict) for step in value):
            return f"{value!r} is neither a number nor a list of {{cores, value}}"
        return next(filter(None, map(step_problem, value)), "") or _order_problem(value)

    def step_problem(step: Mapping[str, object]) -> str:
        if not set(step) <= {"cores", "value"}:
            return f"{step!r} has other names than cores and value"
        return whole(least)(step.get("value"))

    return check


def _order_problem(value: list[Mapping[str, object]]) -> str:
    cores = [step.get("cores") for step in value]
    limits = [limit for limit in cores[:-1] if type(limit) is int]
    if len(limits) != len(cores) - 1 or limits != sorted(set(limits)) or cores[-1] is not None:
        return "every step but the last needs cores, in rising order"
    return ""


def checkpoints(value: object) -> str:
    if not isinstance(value, dict) or not value:
        return f"{value!r} is not a mapping of checkpoint kinds"
    problems = [one_of(CHECKPOINTS)(kind) or one_of((AUTOMATIC, ON_REQUEST))(when) for kind, when in value.items()]
    return next(filter(None, problems), "")


def activation(value: Any) -> str:
    problem = list_of(_activation_entry, 1)(value)
    return problem or ("one entry must have no isa_any" if all(entry.get("isa_any") for entry in value) else "")


def _activation_entry(value: object) -> str:
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
    "isa_any": list_of(text),
    "isa_none": list_of(text),
}
RULES: Mapping[str, Rule | Mapping[str, Rule]] = {
    "name": profile_name,
    "engine": one_of((NAME,)),
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


# Rules over several fields of one profile: the field to blame and the reason, or None.


def _kv_precision_is_offered(profile: OpenvinoProfile) -> tuple[str, str] | None:
    offered = profile.kv_precision in profile.kv_precisions
    return None if offered else ("kv_precision", f"{profile.kv_precision} is not among kv_precisions")


def _group_size_suits_precision(profile: OpenvinoProfile) -> tuple[str, str] | None:
    if (profile.group_size > 0) == profile.precision.startswith("int4"):
        return None
    return "group_size", f"{profile.group_size} does not go with precision {profile.precision}"


def _comfort_is_above_minimum(profile: OpenvinoProfile) -> tuple[str, str] | None:
    lowest, comfortable = profile.limits.min_seq_len.otherwise, profile.limits.comfortable_seq_len.otherwise
    return None if lowest <= comfortable else ("limits", f"min_seq_len {lowest} is above comfortable_seq_len")


PROFILE_RULES = (
    _kv_precision_is_offered,
    _group_size_suits_precision,
    _comfort_is_above_minimum,
)
