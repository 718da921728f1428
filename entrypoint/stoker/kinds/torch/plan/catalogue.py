"""What profiles/torch says: precisions, and for each kind of device its limits and the constants of the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.plan.catalogue import catalogue_directory, read_file, read_text, schema
from stoker.plan.profile import AUTOMATIC, GOALS, ON_REQUEST, Limits, Profile
from stoker.plan.types import TEXT
from stoker.plan.validate import Rules, fraction, text, whole

KIND = "torch"
FILE = "torch/torch.yaml"
PRECISIONS = ("bf16", "f16", "f32", "int8", "int4")
DEVICES = ("cpu", "gpu")
QUANTISED = ("int8", "int4")


@dataclass(frozen=True)
class Goal:
    """`tokens_per_sequence`: what the cache is made for; 0 for all that is left."""

    limits: Limits
    tokens_per_sequence: int


@dataclass(frozen=True)
class Constants:
    """A kind of device. `kv_fraction` of what the rest leaves is the most that the cache may take.
    `communication_bytes` are each rank's, where there are several."""

    page_tokens: int
    available_fraction: float
    runtime_bytes: int
    communication_bytes: int
    kv_fraction: float
    goals: Mapping[str, Goal]
    source: str


@dataclass(frozen=True)
class TorchProfile(Profile):
    """`bits` of a weight, with a 16-bit scale for each `group_size` of them, or for each output channel where 0."""

    bits: int

    @property
    def quantised(self) -> bool:
        """While the weights are loaded."""
        return self.precision in QUANTISED


@dataclass(frozen=True)
class TorchCatalogue:
    """`profiles` by order; `places` by "cpu" and "gpu"."""

    profiles: tuple[TorchProfile, ...]
    places: Mapping[str, Constants]


_SIZES = ("max_batch_size", "min_batch_size", "max_num_tokens", "max_seq_len", "min_seq_len")
_LIMITS = {**dict.fromkeys(_SIZES, whole(1)), "tokens_per_sequence": whole(0)}
_PLACE: Rules = {
    "page_tokens": whole(4),
    "available_fraction": fraction,
    "runtime_bytes": whole(0),
    "communication_bytes": whole(0),
    "kv_fraction": fraction,
    "goals": dict.fromkeys(GOALS, _LIMITS),
    "source": text,
}
_PRECISION = {"order": whole(0), "bits": whole(4), "group_size": whole(0)}
_RULES: Rules = {
    "schema": schema,
    "precisions": {name: dict(_PRECISION) for name in PRECISIONS},
    "devices": dict.fromkeys(DEVICES, _PLACE),
}


def load_torch(directory: Path | None = None) -> TorchCatalogue:
    """Raises UsageError that names file, line and field of the first mistake."""
    file = (directory or catalogue_directory()) / FILE
    return read_torch(read_file(file), file.name)


def read_torch(content: str, file: str) -> TorchCatalogue:
    fields = read_text(content, file, _RULES)
    profiles = [_profile(name, goal, entry) for name, entry in fields["precisions"].items() for goal in GOALS]
    ordered = tuple(sorted(profiles, key=lambda profile: (profile.order, profile.name)))
    return TorchCatalogue(ordered, {name: _constants(entry) for name, entry in fields["devices"].items()})


def _profile(precision: str, goal: str, entry: Mapping[str, Any]) -> TorchProfile:
    checkpoints = {"plain": ON_REQUEST if precision in QUANTISED else AUTOMATIC}
    own = {**entry, "checkpoints": checkpoints, "kv_precisions": ("bf16", "f16", "f32"), "activation_precisions": ()}
    return TorchProfile(f"{KIND}-{precision}-{goal}", KIND, (TEXT,), precision, goal, **own)


def _constants(fields: Mapping[str, Any]) -> Constants:
    return Constants(**{**fields, "goals": {goal: _goal(entry) for goal, entry in fields["goals"].items()}})


def _goal(fields: Mapping[str, int]) -> Goal:
    """Any fit is comfortable: a kind of last choice has nothing to give way to."""
    sizes = {name: fields[name] for name in _SIZES}
    limits = Limits(
        **sizes,
        comfortable_batch_size=1,
        comfortable_seq_len=fields["min_seq_len"],
        min_num_tokens=fields["max_num_tokens"],
        min_tokens_per_sequence=fields["min_seq_len"],
    )
    return Goal(limits, fields["tokens_per_sequence"])
