"""What the files of profiles/nvidia may say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stoker.plan.located import Located
from stoker.plan.profile import AUTOMATIC, GOALS, ON_REQUEST
from stoker.plan.validate import Rule, check_fields, list_of, one_of, problem, text, whole

WEIGHTS = (
    *("f16", "bf16", "fp8", "fp8_block", "nvfp4", "int8_sq", "int8_wo", "int4_wo"),
    *("int4_awq", "int4_gptq", "w4a8_awq"),
)
CACHES = ("f16", "bf16", "int8", "fp8")
CHECKPOINT_KINDS = (
    *("plain", "awq", "gptq", "fp8", "fp8_block", "fp8_rowwise", "nvfp4"),
    *("modelopt_awq", "w4a8_awq"),
)
KINDS = ("tensorrt_llm", "tensorrt_llm_pytorch")
SUPPORT = ("listed", "unproven", "refused", "kv")


def number(value: Any) -> str:
    right = type(value) in (int, float) and value > 0
    return "" if right else f"{value!r} is not a number above 0"


def bits(value: Any) -> str:
    return "" if value in (4, 8, 16) else f"{value!r} is not 4, 8 or 16"


def one(value: Any) -> str:
    return "" if value == 1 else f"{value!r} is not 1"


def mapping_of(key: Rule, value: Rule) -> Rule:
    def rule(entries: Any) -> str:
        if not isinstance(entries, dict):
            return f"{entries!r} is not a mapping"
        problems = (key(name) or value(entry) for name, entry in entries.items())
        return next(filter(None, problems), "")

    return rule


def fields_of(rules: Mapping[str, Rule], optional: tuple[str, ...] = ()) -> Rule:
    """A mapping of exactly these fields, but for the optional ones."""

    def rule(entry: Any) -> str:
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


def capability(value: Any) -> str:
    return "" if re.fullmatch(r"\d+\.\d", str(value)) else f"{value!r} is not a compute capability like 8.0"


_WHOLE = whole(0)
_LIMITS: Mapping[str, Rule] = {
    **dict.fromkeys(("max_batch_size", "min_batch_size", "max_num_tokens", "min_num_tokens"), whole(1)),
    **dict.fromkeys(("max_seq_len", "comfortable_seq_len", "min_seq_len", "min_tokens_per_sequence"), whole(1)),
    "min_weight_bytes_per_gpu": _WHOLE,
}
_MEMORY: Mapping[str, Rule] = {
    **dict.fromkeys(("kv_fraction", "unified_fraction", "sequence_bytes_per_vocabulary_entry"), number),
    **dict.fromkeys(("per_intermediate", "per_attention", "per_hidden", "sequence_bytes_per_token"), _WHOLE),
    **dict.fromkeys(("cuda_context", "communication"), _WHOLE),
    "kv_block_tokens": whole(1),
    "source": text,
}
_HOST: Mapping[str, Rule] = {
    **dict.fromkeys(("memory_refused", "memory_enough", "disk"), number),
    "memory_least": _WHOLE,
    "source": text,
}
_PRECISION: Mapping[str, Rule] = {
    "order": _WHOLE,
    "bits": bits,
    "scale_bytes": _WHOLE,
    "group_size": _WHOLE,
    "checkpoints": mapping_of(one_of(CHECKPOINT_KINDS), one_of((AUTOMATIC, ON_REQUEST))),
    "kv": one_of(("activation", *CACHES)),
    "kv_offered": list_of(one_of(CACHES), 1),
}
_SUPPORT: Mapping[str, Rule] = {
    "listed": list_of(one_of(WEIGHTS)),
    "unproven": list_of(one_of(WEIGHTS)),
    "refused": mapping_of(one_of(WEIGHTS), text),
    "kv": list_of(one_of(CACHES), 1),
}
_FAMILY = either(text, fields_of({name: _SUPPORT[name] for name in ("listed", "unproven")}))

KIND: Mapping[str, Any] = {
    "schema": one,
    "kind": one_of(KINDS),
    "order": _WHOLE,
    "image": {"name": text, "release": text, "driver": text, "cuda": text, "source": text},
    "host": _HOST,
    "memory": _MEMORY,
    "goals": dict.fromkeys(GOALS, _LIMITS),
    "precisions": mapping_of(one_of(WEIGHTS), fields_of(_PRECISION)),
    "paged_context_attention": {
        "off": list_of(fields_of({"kv": one_of(CACHES), "with": list_of(one_of(WEIGHTS), 1)})),
        "source": text,
    },
}
CAPABILITIES: Mapping[str, Any] = {
    "schema": one,
    "capabilities": mapping_of(capability, either(text, fields_of(dict.fromkeys(KINDS, fields_of(_SUPPORT))))),
}
_CONVERTER: Mapping[str, Rule] = {
    **dict.fromkeys(("folder", "source", "tensor"), text),
    **dict.fromkeys(("pipeline", "workers", "fp8_cache"), lambda value: "" if value is None else text(value)),
    "architectures": list_of(text, 1),
    "reads": list_of(one_of(CHECKPOINT_KINDS), 1),
    **dict.fromkeys(("fixed", "environment"), mapping_of(text, text)),
}
CONVERTERS: Mapping[str, Any] = {"schema": one, "converters": mapping_of(text, fields_of(_CONVERTER))}
MODELS: Mapping[str, Any] = {
    "schema": one,
    "families": mapping_of(text, fields_of({"architectures": list_of(text, 1), **dict.fromkeys(KINDS, _FAMILY)})),
}


def check(file: str, located: Located, rules: Mapping[str, Any]) -> None:
    """Raises UsageError that names file, line and field."""
    if not isinstance(located.value, dict):
        raise problem(file, located.line, "file", "is not a mapping")
    check_fields(file, located, rules)
