"""Which profiles come into question at all, and what stands against the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stoker.errors import DoesNotFitError, StokerError, UnsupportedModelError, UsageError
from stoker.plan.overrides import asked, asked_goal
from stoker.plan.profile import CHECKPOINTS, ON_REQUEST, Profile
from stoker.plan.types import Overrides, Rejection
from stoker.probe.machine import Machine
from stoker.resolve.model import Model, Quantization

BUILT_ENGINES = ("openvino",)
"""Engine kinds that this version can build."""

_FOUR_BITS = 4


@dataclass(frozen=True)
class Obstacle:
    """`error` is raised when this is what stands against the very thing that the user asked for."""

    reason: str
    error: type[StokerError] = UsageError


@dataclass(frozen=True)
class Question:
    """What a profile is held against."""

    machine: Machine
    model: Model
    overrides: Overrides
    goal: str


@dataclass(frozen=True)
class Selection:
    """`candidates` by order. `possible` are those and the ones that only the user's overrides rule out."""

    candidates: tuple[Profile, ...]
    possible: tuple[Profile, ...]
    rejected: tuple[Rejection, ...]


def select(machine: Machine, model: Model, profiles: Sequence[Profile], overrides: Overrides) -> Selection:
    """Raises the error of what stands against the user's overrides when no profile is left."""
    question = Question(machine, model, overrides, asked_goal(overrides, profiles))
    ordered = sorted(profiles, key=lambda profile: (profile.goal != question.goal, profile.order, profile.name))
    judged = [
        (profile, _facts_against(profile, question), _overrides_against(profile, question)) for profile in ordered
    ]
    candidates = tuple(profile for profile, fact, override in judged if not (fact or override))
    if not candidates:
        raise _nothing_left(judged, question)
    against = [(profile, fact or override) for profile, fact, override in judged]
    return Selection(
        candidates,
        tuple(profile for profile, fact, _ in judged if not fact and profile.goal == question.goal),
        tuple(Rejection(profile.name, obstacle.reason) for profile, obstacle in against if obstacle),
    )


def checkpoint_kind(quantization: Quantization | None) -> str:
    """`plain`, `awq`, `gptq`, or the words for something that no engine here reads."""
    if quantization is None:
        return "plain"
    if quantization.bits == _FOUR_BITS and quantization.method in ("awq", "gptq"):
        return quantization.method
    return f"{quantization.method} {quantization.bits}-bit" if quantization.bits else quantization.method


def _engine_is_missing(profile: Profile, _: Question) -> Obstacle | None:
    if profile.engine in BUILT_ENGINES:
        return None
    return Obstacle(f"this version has no engine {profile.engine}", DoesNotFitError)


def _device_is_missing(profile: Profile, question: Question) -> Obstacle | None:
    if profile.requires.device == "cpu" or question.machine.gpus:
        return None
    return Obstacle("needs a GPU, and none was found", DoesNotFitError)


def _compute_capability_is_low(profile: Profile, question: Question) -> Obstacle | None:
    least = profile.requires.min_compute_capability
    if least is None or any(gpu.compute_capability >= least for gpu in question.machine.gpus):
        return None
    return Obstacle(f"needs a GPU of compute capability {least[0]}.{least[1]} or more", DoesNotFitError)


def _instruction_set_is_wrong(profile: Profile, question: Question) -> Obstacle | None:
    isa, requires = set(question.machine.cpu.isa), profile.requires
    if requires.isa_any and not isa.intersection(requires.isa_any):
        return Obstacle(f"needs a processor with one of {', '.join(requires.isa_any)}", DoesNotFitError)
    if wrong := isa.intersection(requires.isa_none):
        return Obstacle(f"is not for processors with {', '.join(sorted(wrong))}", DoesNotFitError)
    return None


def _checkpoint_does_not_suit(profile: Profile, question: Question) -> Obstacle | None:
    kind = checkpoint_kind(question.model.quantization)
    if kind in profile.checkpoints:
        return None
    if kind == "plain":
        return Obstacle(f"needs a checkpoint that is already {' or '.join(profile.checkpoints)}")
    if kind not in CHECKPOINTS:
        return Obstacle(f"the checkpoint is quantised as {kind}, which this version cannot read", UnsupportedModelError)
    return Obstacle(f"the checkpoint is {kind} already, and {profile.precision} would quantise it a second time")


def _another_profile_is_asked(profile: Profile, question: Question) -> Obstacle | None:
    override = question.overrides.profile
    if override is None or override.value == profile.name:
        return None
    return Obstacle(f"{asked(override, 'profile')} asks for {override.value}")


def _another_precision_is_asked(profile: Profile, question: Question) -> Obstacle | None:
    override = question.overrides.precision
    if override is None or override.value == profile.precision:
        return None
    return Obstacle(f"{asked(override, 'precision')} asks for {override.value}")


def _goal_differs(profile: Profile, question: Question) -> Obstacle | None:
    same = profile.goal == question.goal
    return None if same else Obstacle(f"is for {profile.goal}, and the goal is {question.goal}")


def _must_be_asked_for(profile: Profile, question: Question) -> Obstacle | None:
    overrides = question.overrides
    when = profile.checkpoints.get(checkpoint_kind(question.model.quantization))
    if when != ON_REQUEST or overrides.precision or overrides.profile:
        return None
    return Obstacle(f"is taken only when asked for (--precision {profile.precision})")


_Rule = Callable[[Profile, Question], "Obstacle | None"]
_FACTS: tuple[_Rule, ...] = (
    _engine_is_missing,
    _device_is_missing,
    _compute_capability_is_low,
    _instruction_set_is_wrong,
    _checkpoint_does_not_suit,
)
_OVERRIDES: tuple[_Rule, ...] = (
    _another_profile_is_asked,
    _another_precision_is_asked,
    _goal_differs,
    _must_be_asked_for,
)


def _facts_against(profile: Profile, question: Question) -> Obstacle | None:
    return next(filter(None, (rule(profile, question) for rule in _FACTS)), None)


def _overrides_against(profile: Profile, question: Question) -> Obstacle | None:
    return next(filter(None, (rule(profile, question) for rule in _OVERRIDES)), None)


_Judged = tuple[Profile, "Obstacle | None", "Obstacle | None"]


def _nothing_left(judged: Sequence[_Judged], question: Question) -> StokerError:
    """Blames the fact against the profile that the overrides point at; failing that, the overrides."""
    for profile, fact, override in judged:
        if fact and not override:
            what = f"{question.model.served_name} cannot be served in {profile.precision} here"
            return fact.error(what, why=fact.reason, remedy=_what_goes(judged))
    return _not_offered(judged, question)


def _not_offered(judged: Sequence[_Judged], question: Question) -> UsageError:
    precision = question.overrides.precision
    if precision is None:
        return UsageError(f"no profile offers the goal {question.goal}", remedy=_what_goes(judged))
    what = f"no profile offers precision {precision.value} with the goal {question.goal}"
    for profile, fact, _ in judged:
        if not fact and profile.precision == precision.value:
            return UsageError(what, remedy=f"--goal {profile.goal} has it")
    return UsageError(what, remedy=_what_goes(judged))


def _what_goes(judged: Sequence[_Judged]) -> str:
    possible = sorted({profile.precision for profile, fact, _ in judged if not fact})
    return f"possible here: {', '.join(possible)}" if possible else "no profile suits this model on this machine"
