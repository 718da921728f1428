"""What planning asks of an engine kind: facts and formulas. stoker.plan.planner ranks, fits, refuses and explains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from stoker.errors import StokerError, UnsupportedModelError
from stoker.plan.devices import Place, Split
from stoker.plan.fit import Fit, Range, Shrink
from stoker.plan.profile import Limits, Profile
from stoker.plan.speculation import NOTHING, Speculates, Speculation
from stoker.plan.types import Chosen, MemoryBudget, Overrides, Reason, Rejection, Replica
from stoker.probe.machine import Cpu, Gpu, Machine
from stoker.resolve.model import Model


@dataclass(frozen=True)
class Question:
    """What every kind is asked. `goal` is the override's, or the default; `longest` the context the model allows.
    `draft`: the model that guesses tokens, where one does."""

    machine: Machine
    model: Model
    overrides: Overrides
    goal: str
    longest: int
    speculation: Speculation = NOTHING
    draft: Model | None = None


@dataclass(frozen=True)
class Obstacle:
    """Why a profile is not taken. `error` is raised when it stands against the very thing that the user asked for;
    `by_override`: only what the user set stands against it."""

    code: str
    reason: str
    error: type[StokerError]
    by_override: bool
    remedy: str = ""


@dataclass(frozen=True)
class Shape:
    """What an engine is asked to hold. `tokens` in one step; `context` is the longest sequence."""

    batch: int
    tokens: int
    context: int


@dataclass(frozen=True)
class Candidate:
    """A profile at a place, spread over `devices` (none on a CPU); what is left open is its shape. Where there are
    several replicas on a CPU, `place` is what one of them has.

    `budget`: bytes of each device, a pure function of the shape; its total is above its limit where that does not fit.
    `cache_needed`: tokens without which a shape makes no sense. `cache_share`: the part of the memory that the rest
    leaves which those may take. `whole_prompts`: a prompt goes through in one step. `unproven` says what no table of
    the vendor lists; such candidates are taken after the others. `sources` says where precision, kv_precision,
    activation_precision and group_size came from. `reasons`: the kind's own lines, in their order.
    """

    profile: Profile
    place: Place
    split: Split
    devices: tuple[Gpu, ...]
    kv_precision: str
    activation_precision: str
    group_size: int
    limits: Limits
    shrink: Shrink
    budget: Callable[[Shape], MemoryBudget]
    cache_needed: Callable[[Shape], int]
    cache_share: float
    whole_prompts: bool
    unproven: str
    sources: Mapping[str, str]
    reasons: Callable[[Case], Iterable[Reason]]


@dataclass(frozen=True)
class Case:
    """A plan before it is put into words. `before` would have been taken with more memory; `why` no engine that comes
    before this kind serves, empty where none does. `chosen` and `memory` are those of each of the `replicas`."""

    question: Question
    candidate: Candidate
    span: Range
    found: Fit
    chosen: Chosen
    memory: MemoryBudget
    before: tuple[Rejection, ...]
    rejected: tuple[Rejection, ...]
    next_profile: str
    why: str
    replicas: tuple[Replica, ...]


@dataclass(frozen=True)
class Package:
    """What must be installed for the kind, and how to get it; both for people."""

    name: str
    remedy: str


@dataclass(frozen=True)
class PlanKind:
    """An engine kind, as far as planning is concerned.

    `order`: kinds are compared by it where several serve; `last_choice`: taken only where no other kind does.
    `devices`: "cpu" and vendors of GPUs; `elsewhere` says why it runs on no other. `package`: what building and running
    takes. `architectures`: those to name when a model is refused, empty where there is no such list.
    `unknown`: the error for a model that the kind has no engine for, None where it has; a pure function of its facts.
    `checkpoint`: how the profiles' `checkpoints` call a quantisation.
    `against`: what of model, place and overrides stands against a profile, besides what every kind has in common.
    `no_adapters`: why an engine of the profile takes no LoRA adapters beside the model, empty where it does.
    `why_not_split`: why a profile's model cannot be spread so, empty where it can. `spreads_for_latency`: whether more
    GPUs than needed are worth taking for shorter steps.
    `spans_machines`: one engine may run on several machines at once.
    `retries_build`: a build that quantises may fail, so that the next profile is named with the plan.
    `speculates`: what it has of speculative decoding.
    `tunable`: the overrides that `stoker tune` varies, the one with the largest effect first, each with the values to
    try; of what is planned without it. None that only a long build could change.
    """

    name: str
    order: int
    last_choice: bool
    devices: tuple[str, ...]
    elsewhere: str
    package: Package
    profiles: tuple[Profile, ...]
    architectures: tuple[str, ...]
    unknown: Callable[[Model], UnsupportedModelError | None]
    checkpoint: Callable[[Model], str]
    against: Callable[[Profile, Question, Place], Obstacle | None]
    no_adapters: Callable[[Profile, Question], str]
    why_not_split: Callable[[Profile, Question, Place, Split], str]
    spreads_for_latency: Callable[[Profile, Question, Split], bool]
    candidate: Callable[[Profile, Question, Place, Split, tuple[Gpu, ...]], Candidate]
    retries_build: bool
    speculates: Speculates
    spans_machines: bool
    tunable: Callable[[Profile, Chosen, Cpu], Mapping[str, Sequence[str | int]]]

    @property
    def purposes(self) -> frozenset[str]:
        return frozenset(purpose for profile in self.profiles for purpose in profile.purposes)
