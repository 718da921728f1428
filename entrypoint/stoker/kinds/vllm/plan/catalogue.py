"""What profiles/vllm says: precisions, limits, and the constants of the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.plan.catalogue import catalogue_directory, read, schema
from stoker.plan.profile import GOALS, ON_REQUEST, Limits, Profile
from stoker.plan.types import TEXT
from stoker.plan.validate import Rule, fields_of, fraction, list_of, mapping_of, one_of, text, whole
from stoker.settings.spec import PRECISIONS

KIND = "vllm"
FILE = "vllm/vllm.yaml"


@dataclass(frozen=True)
class Constants:
    """Bytes, and elements of each token of a step."""

    available_fraction: float
    cuda_context: int
    graph_bytes_per_sequence: int
    communication: int
    block_tokens: int
    per_intermediate: int
    per_attention: int
    per_hidden: int
    logits_bytes: int
    source: str


@dataclass(frozen=True)
class VllmProfile(Profile):
    """`bits` of each matrix element; `capability` is the least that its kernels need."""

    bits: int
    capability: tuple[int, int]


@dataclass(frozen=True)
class VllmCatalogue:
    profiles: tuple[VllmProfile, ...]
    limits: Mapping[str, Limits]
    memory: Constants


def _capability(value: Any) -> str:
    parts = str(value).split(".")
    right = len(parts) == 2 and all(part.isdigit() for part in parts)
    return "" if right else f"{value!r} is not a compute capability like 8.0"


_SIZES = (
    *("max_batch_size", "min_batch_size", "max_num_tokens", "min_num_tokens", "max_seq_len"),
    *("comfortable_seq_len", "min_seq_len", "min_tokens_per_sequence"),
)
_PRECISION: Mapping[str, Rule] = {
    **dict.fromkeys(("order", "bits", "group_size"), whole(0)),
    "capability": _capability,
    "checkpoints": list_of(text, 1),
}
_RULES: Mapping[str, Any] = {
    "schema": schema,
    "memory": {
        **dict.fromkeys(("cuda_context", "graph_bytes_per_sequence", "communication", "block_tokens"), whole(1)),
        **dict.fromkeys(("per_intermediate", "per_attention", "per_hidden", "logits_bytes"), whole(1)),
        "available_fraction": fraction,
        "source": text,
    },
    "goals": dict.fromkeys(GOALS, dict.fromkeys(_SIZES, whole(1))),
    "precisions": mapping_of(one_of(PRECISIONS), fields_of(_PRECISION)),
}


def load_vllm(directory: Path | None = None) -> VllmCatalogue:
    """Raises UsageError that names file, line and field of the first mistake."""
    fields = read((directory or catalogue_directory()) / FILE, _RULES)
    profiles = [_profile(name, goal, entry) for name, entry in fields["precisions"].items() for goal in GOALS]
    limits = {goal: _limits(entry) for goal, entry in fields["goals"].items()}
    return VllmCatalogue(tuple(profiles), limits, Constants(**fields["memory"]))


def _profile(precision: str, goal: str, entry: Mapping[str, Any]) -> VllmProfile:
    major, _, minor = entry["capability"].partition(".")
    caches = ("bf16", "f16", "fp8")
    return VllmProfile(
        name=f"{KIND}-{precision}-{goal}",
        engine=KIND,
        purposes=(TEXT,),
        precision=precision,
        goal=goal,
        order=entry["order"],
        group_size=entry["group_size"],
        checkpoints=dict.fromkeys(entry["checkpoints"], ON_REQUEST),
        kv_precisions=caches,
        bits=entry["bits"],
        capability=(int(major), int(minor)),
    )


def _limits(fields: Mapping[str, int]) -> Limits:
    return Limits(**fields, comfortable_batch_size=fields["min_batch_size"])
