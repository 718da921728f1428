"""What profiles/torch says: precisions, and for each kind of device its limits and the constants of the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.errors import UsageError
from stoker.plan.catalogue import catalogue_directory
from stoker.plan.located import parse
from stoker.plan.profile import GOALS
from stoker.plan.validate import check_fields, fraction, text, whole

KIND = "torch"
FILE = "torch/torch.yaml"
PRECISIONS = ("bf16", "f16", "f32", "int8", "int4")
DEVICES = ("cpu", "gpu")


@dataclass(frozen=True)
class Limits:
    """Where the planner starts, and how far it may shrink. `tokens_per_sequence`: what the cache is made for; 0 for all
    that is left."""

    max_batch_size: int
    min_batch_size: int
    max_num_tokens: int
    max_seq_len: int
    min_seq_len: int
    tokens_per_sequence: int


@dataclass(frozen=True)
class Place:
    """A kind of device. `kv_fraction` of what the rest leaves is the most that the cache may take.
    `communication_bytes` are each rank's, where there are several."""

    page_tokens: int
    available_fraction: float
    runtime_bytes: int
    communication_bytes: int
    kv_fraction: float
    goals: Mapping[str, Limits]
    source: str


@dataclass(frozen=True)
class TorchProfile:
    """`bits` of a weight, with a 16-bit scale for each `group_size` of them, or for each output channel where 0."""

    name: str
    precision: str
    goal: str
    order: int
    bits: int
    group_size: int


@dataclass(frozen=True)
class TorchCatalogue:
    """`profiles` by order; `places` by "cpu" and "gpu"."""

    profiles: tuple[TorchProfile, ...]
    places: Mapping[str, Place]


_LIMITS = {**dict.fromkeys(Limits.__dataclass_fields__, whole(1)), "tokens_per_sequence": whole(0)}
_PLACE = {
    "page_tokens": whole(4),
    "available_fraction": fraction,
    "runtime_bytes": whole(0),
    "communication_bytes": whole(0),
    "kv_fraction": fraction,
    "goals": dict.fromkeys(GOALS, _LIMITS),
    "source": text,
}
_PRECISION = {"order": whole(0), "bits": whole(4), "group_size": whole(0)}
_RULES: Mapping[str, Any] = {
    "schema": lambda value: "" if value == 1 else f"{value!r} is not 1",
    "precisions": {name: dict(_PRECISION) for name in PRECISIONS},
    "devices": dict.fromkeys(DEVICES, _PLACE),
}


def load_torch(directory: Path | None = None) -> TorchCatalogue:
    """Raises UsageError that names file, line and field of the first mistake."""
    file = (directory or catalogue_directory()) / FILE
    try:
        content = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{FILE} cannot be read", why=str(error), remedy="install stoker again") from error
    return read_torch(content, file.name)


def read_torch(content: str, file: str) -> TorchCatalogue:
    located = parse(content, file)
    check_fields(file, located, _RULES)
    fields = located.plain()
    profiles = [
        TorchProfile(f"{KIND}-{precision}-{goal}", precision, goal, **entry)
        for precision, entry in fields["precisions"].items()
        for goal in GOALS
    ]
    ordered = tuple(sorted(profiles, key=lambda profile: (profile.order, profile.name)))
    return TorchCatalogue(ordered, {name: _place(entry) for name, entry in fields["devices"].items()})


def _place(fields: Mapping[str, Any]) -> Place:
    goals = {goal: Limits(**limits) for goal, limits in fields["goals"].items()}
    return Place(**{**fields, "goals": goals})
