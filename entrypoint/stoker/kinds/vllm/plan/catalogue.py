"""What profiles/vllm says: precisions, limits, the constants of the memory budget, and the models that vLLM knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.plan.catalogue import catalogue_directory, read_file, read_text, schema
from stoker.plan.profile import AUTOMATIC, GOALS, ON_REQUEST, Limits, Profile
from stoker.plan.types import PURPOSES, TEXT
from stoker.plan.validate import (
    Rules,
    capability,
    capability_of,
    fields_of,
    fraction,
    list_of,
    mapping_of,
    number,
    one_of,
    text,
    whole,
)

KIND = "vllm"
NO_CACHE = "none"  # as the cache of an encoder, which reads a text at once, is called
FILE = "vllm/vllm.yaml"
PRECISIONS = (
    *("bf16", "f16", "fp8", "fp8_block", "int8_wo", "int8_sq"),
    *("int4_awq", "int4_gptq", "nvfp4", "mxfp4"),
)
CHECKPOINTS = ("plain", "awq", "gptq", "fp8", "fp8_block", "int4", "int8", "nvfp4", "mxfp4")


@dataclass(frozen=True)
class Constants:
    """Of the memory budget, in bytes unless the file says otherwise; profiles/vllm explains each."""

    available_fraction: float
    kv_block_tokens: int
    per_intermediate: int
    per_attention: int
    per_hidden: int
    sampler_bytes: int
    scorer_bytes: int
    graph_bytes: int
    cuda_context: int
    communication: int
    unified_fraction: float
    source: str


@dataclass(frozen=True)
class Goal:
    limits: Limits
    min_weight_bytes_per_gpu: int


@dataclass(frozen=True)
class VllmProfile(Profile):
    """`capability` is the least that the precision needs; `bits`, `scale_bytes` and `group_size` are how a matrix is
    stored."""

    capability: tuple[int, int]
    bits: int
    scale_bytes: int


@dataclass(frozen=True)
class Faster:
    """How many times as fast as `over` a precision is, on GPUs of at least `capability`; `source`: the measurement."""

    over: str
    capability: tuple[int, int]
    ratio: float
    source: str


@dataclass(frozen=True)
class Catalogue:
    """`profiles` by order; `goals` by name; `architectures` by purpose; `faster` by precision."""

    order: int
    release: str
    profiles: tuple[VllmProfile, ...]
    constants: Constants
    goals: Mapping[str, Goal]
    kv_fp8_capability: tuple[int, int]
    architectures: Mapping[str, frozenset[str]]
    faster: Mapping[str, Faster]


_SIZES = (
    *("max_batch_size", "min_batch_size", "max_num_tokens", "min_num_tokens"),
    *("max_seq_len", "comfortable_seq_len", "min_seq_len", "min_tokens_per_sequence"),
)


_LIMITS = {**dict.fromkeys(_SIZES, whole(1)), "min_weight_bytes_per_gpu": whole(0)}
_FRACTIONS = ("available_fraction", "unified_fraction")
_MEMORY = {
    **{name: whole(0) for name in Constants.__dataclass_fields__ if name not in (*_FRACTIONS, "source")},
    **dict.fromkeys(_FRACTIONS, fraction),
    "source": text,
}
_PRECISION = {
    "order": whole(0),
    "capability": capability,
    "bits": whole(4),
    "scale_bytes": whole(0),
    "group_size": whole(0),
    "checkpoints": mapping_of(one_of(CHECKPOINTS), one_of((AUTOMATIC, ON_REQUEST))),
}
_FASTER = {"over": one_of(PRECISIONS), "capability": capability, "ratio": number, "source": text}
_RULES: Rules = {
    "schema": schema,
    "order": whole(0),
    "release": text,
    "memory": _MEMORY,
    "goals": dict.fromkeys(GOALS, _LIMITS),
    "precisions": mapping_of(one_of(PRECISIONS), fields_of(_PRECISION)),
    "kv_fp8_capability": capability,
    "faster": mapping_of(one_of(PRECISIONS), fields_of(_FASTER)),
    "architectures": dict.fromkeys(PURPOSES, list_of(text, 1)),
}


def load_vllm(directory: Path | None = None) -> Catalogue:
    """Raises UsageError that names file, line and field of the first mistake."""
    file = (directory or catalogue_directory()) / FILE
    fields = read_text(read_file(file), file.name, _RULES)
    profiles = [_profile(name, goal, entry) for name, entry in fields["precisions"].items() for goal in GOALS]
    return Catalogue(
        order=fields["order"],
        release=fields["release"],
        profiles=tuple(sorted(profiles, key=lambda profile: (profile.order, profile.name))),
        constants=Constants(**fields["memory"]),
        goals={goal: _goal(entry) for goal, entry in fields["goals"].items()},
        kv_fp8_capability=capability_of(fields["kv_fp8_capability"]),
        architectures={purpose: frozenset(names) for purpose, names in fields["architectures"].items()},
        faster={name: _faster(entry) for name, entry in fields["faster"].items()},
    )


def _profile(precision: str, goal: str, entry: Mapping[str, Any]) -> VllmProfile:
    own = {**entry, "capability": capability_of(entry["capability"])}
    half = precision in ("bf16", "f16")
    kv = (*((precision, NO_CACHE) if half else ("bf16", "f16")), "fp8")
    purposes = PURPOSES if half else (TEXT,)  # what a precision costs vectors was not measured
    own |= {"kv_precisions": kv, "activation_precisions": ()}
    return VllmProfile(f"{KIND}-{precision}-{goal}", KIND, purposes, precision, goal, **own)


def _goal(fields: Mapping[str, int]) -> Goal:
    own = {**fields, "comfortable_batch_size": fields["min_batch_size"]}
    return Goal(min_weight_bytes_per_gpu=own.pop("min_weight_bytes_per_gpu"), limits=Limits(**own))


def _faster(fields: Mapping[str, Any]) -> Faster:
    return Faster(**{**fields, "capability": capability_of(fields["capability"])})
