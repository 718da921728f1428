"""What profiles/nvidia says: the kinds of TensorRT-LLM, their precisions, and what GPUs and model families rule out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.errors import UsageError
from stoker.kinds.tensorrt_llm.plan.rules import CAPABILITIES, CONVERTERS, KIND, MODELS, SUPPORT
from stoker.plan.catalogue import catalogue_directory, read
from stoker.plan.profile import GOALS, Limits, Profile
from stoker.plan.types import TEXT
from stoker.plan.validate import capability_of

FOLDER = "nvidia"
COMPILED, PYTORCH = "tensorrt_llm", "tensorrt_llm_pytorch"


@dataclass(frozen=True)
class Goal:
    """Where the planner starts and how far it may shrink; and the weights that each GPU must keep for more of them to
    shorten a step."""

    limits: Limits
    min_weight_bytes_per_gpu: int


@dataclass(frozen=True)
class Constants:
    kv_fraction: float
    kv_block_tokens: int
    per_intermediate: int
    per_attention: int
    per_hidden: int
    sequence_bytes_per_vocabulary_entry: float
    sequence_bytes_per_token: int
    cuda_context: int
    communication: int
    unified_fraction: float
    source: str


@dataclass(frozen=True)
class Host:
    """What building takes of the host, as multiples of the 16-bit weights; of memory at least `memory_least` bytes."""

    memory_refused: float
    memory_enough: float
    memory_least: int
    disk: float
    source: str


@dataclass(frozen=True)
class Image:
    name: str
    release: str
    driver: str
    cuda: str
    source: str


@dataclass(frozen=True)
class Kind:
    """`without_paging` are the pairs of cache and weight precision that turn paged context attention off."""

    name: str
    order: int
    image: Image
    host: Host
    memory: Constants
    goals: Mapping[str, Goal]
    without_paging: frozenset[tuple[str, str]]

    @property
    def compiled(self) -> bool:
        """Its engines are made by TensorRT-LLM's converters and compiler."""
        return self.name == COMPILED


@dataclass(frozen=True)
class GpuProfile(Profile):
    """One precision of one kind for one goal. `bits` of each matrix element, with `scale_bytes` for each `group_size`
    inputs of an output channel, or for each output channel where that is 0. `kv`: the cache's type, or `activation`."""

    kind: Kind
    bits: int
    scale_bytes: int
    kv: str

    @property
    def goal_limits(self) -> Goal:
        return self.kind.goals[self.goal]


@dataclass(frozen=True)
class Support:
    """`refused` says why, by precision; `unproven` ones are not ruled out but in no table of the vendor either."""

    listed: frozenset[str]
    unproven: frozenset[str]
    refused: Mapping[str, str]
    kv: tuple[str, ...] = ()


Verdict = Support | str
"""A text says why nothing is possible at all."""


@dataclass(frozen=True)
class Converter:
    """The script that makes TensorRT-LLM's own checkpoint; its flags as converters.yaml explains them."""

    folder: str
    source: str
    reads: tuple[str, ...]
    tensor: str
    pipeline: str | None
    workers: str | None
    fp8_cache: str | None
    fixed: Mapping[str, str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Catalogue:
    """`capabilities` by (major, minor), `models` by architecture name, each with its verdict by kind; `converters` by
    architecture name."""

    profiles: tuple[GpuProfile, ...]
    kinds: Mapping[str, Kind]
    capabilities: Mapping[tuple[int, int], Mapping[str, Verdict]]
    models: Mapping[str, Mapping[str, Verdict]]
    converters: Mapping[str, Converter]


def load_nvidia(directory: Path | None = None) -> Catalogue:
    """Raises UsageError that names file, line and field of the first mistake."""
    folder = (directory or catalogue_directory()) / FOLDER
    files = sorted(folder.glob("tensorrt_llm*.yaml"))
    if not files:
        raise UsageError("the NVIDIA profile catalogue is missing", why=str(folder), remedy="install stoker again")
    found = [_kind(read(file, KIND)) for file in files]
    kinds = {kind.name: kind for kind, _ in found}
    profiles = [profile for _, own in found for profile in own]
    capabilities = read(folder / "capabilities.yaml", CAPABILITIES)["capabilities"]
    models = read(folder / "models.yaml", MODELS)["families"]
    return Catalogue(
        tuple(sorted(profiles, key=lambda profile: (profile.kind.order, profile.order, profile.name))),
        kinds,
        {capability_of(name): _verdicts(entry, kinds) for name, entry in capabilities.items()},
        {name: _verdicts(entry, kinds) for entry in models.values() for name in entry["architectures"]},
        load_converters(folder),
    )


def load_converters(folder: Path | None = None) -> dict[str, Converter]:
    """By architecture name. Raises UsageError as load_nvidia does."""
    entries = read((folder or catalogue_directory() / FOLDER) / "converters.yaml", CONVERTERS)["converters"]
    return {name: _converter(entry) for entry in entries.values() for name in entry["architectures"]}


def _converter(entry: Mapping[str, Any]) -> Converter:
    own = {name: value for name, value in entry.items() if name != "architectures"}
    return Converter(**{**own, "reads": tuple(own["reads"])})


def _kind(fields: Mapping[str, Any]) -> tuple[Kind, list[GpuProfile]]:
    without = frozenset(
        (entry["kv"], weights) for entry in fields["paged_context_attention"]["off"] for weights in entry["with"]
    )
    kind = Kind(
        fields["kind"],
        fields["order"],
        Image(**fields["image"]),
        Host(**fields["host"]),
        Constants(**fields["memory"]),
        {goal: _goal(limits) for goal, limits in fields["goals"].items()},
        without,
    )
    return kind, [_profile(kind, name, goal, entry) for name, entry in fields["precisions"].items() for goal in GOALS]


def _goal(fields: Mapping[str, int]) -> Goal:
    own = {**fields, "comfortable_batch_size": fields["min_batch_size"]}
    return Goal(min_weight_bytes_per_gpu=own.pop("min_weight_bytes_per_gpu"), limits=Limits(**own))


def _profile(kind: Kind, precision: str, goal: str, entry: Mapping[str, Any]) -> GpuProfile:
    own = {name: value for name, value in entry.items() if name != "kv_offered"}
    offered = tuple(entry["kv_offered"])
    name = f"{kind.name}-{precision}-{goal}"
    return GpuProfile(
        name, kind.name, (TEXT,), precision, goal, kind=kind, kv_precisions=offered, activation_precisions=(), **own
    )


def _verdicts(entry: Any, kinds: Mapping[str, Kind]) -> dict[str, Verdict]:
    if isinstance(entry, str):
        return dict.fromkeys(kinds, entry)
    return {name: _verdict(entry[name]) for name in kinds}


def _verdict(entry: Any) -> Verdict:
    if isinstance(entry, str):
        return entry
    fields = {**dict.fromkeys(SUPPORT, ()), **entry}
    return Support(
        frozenset(fields["listed"]), frozenset(fields["unproven"]), dict(fields["refused"]), tuple(fields["kv"])
    )
