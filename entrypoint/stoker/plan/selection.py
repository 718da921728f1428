"""Which profiles of some kinds come into question at a place, and what stands against the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from stoker.errors import StokerError, UnsupportedModelError, UsageError
from stoker.plan.devices import Place
from stoker.plan.kind import Obstacle, PlanKind, Question
from stoker.plan.overrides import asked
from stoker.plan.profile import ON_REQUEST, Profile
from stoker.plan.purpose import purpose_of
from stoker.plan.speculation import why_not

UNKNOWN, CACHE, COMPUTE, SPECULATIVE = "unknown", "cache", "compute", "speculative"
"""Codes of obstacles: the kind has no engine for the model, none with the cache type that the user set, none that
computes in what the user set, and none that guesses tokens as the user wants it."""


@dataclass(frozen=True)
class Judged:
    kind: PlanKind
    profile: Profile
    obstacle: Obstacle | None

    @property
    def possible(self) -> bool:
        """Facts have nothing against it."""
        return self.obstacle is None or self.obstacle.by_override


def judge(kinds: Sequence[PlanKind], question: Question, place: Place) -> tuple[Judged, ...]:
    """Every profile of the kinds for the model's purpose, by kind and order."""
    return tuple(one for kind in kinds for one in _judged(kind, question, place))


def _judged(kind: PlanKind, question: Question, place: Place) -> Iterable[Judged]:
    error, purpose = kind.unknown(question.model), purpose_of(question.model)
    unknown = Obstacle(UNKNOWN, _words(error), UnsupportedModelError, by_override=False) if error else None
    for profile in sorted(kind.profiles, key=lambda one: (one.order, one.name)):
        if purpose in profile.purposes:
            yield Judged(kind, profile, unknown or _obstacle(kind, profile, question, place))


def _words(error: StokerError) -> str:
    return f"{error.what}: {error.why}" if error.why else error.what


def _obstacle(kind: PlanKind, profile: Profile, question: Question, place: Place) -> Obstacle | None:
    own = kind.against(profile, question, place)
    fact = own if own and not own.by_override else _checkpoint_does_not_suit(kind, profile, question)
    return fact or next(filter(None, (rule(kind, profile, question) for rule in _RULES)), own)


def _checkpoint_does_not_suit(kind: PlanKind, profile: Profile, question: Question) -> Obstacle | None:
    checkpoint = kind.checkpoint(question.model)
    if checkpoint in profile.checkpoints:
        return None
    if checkpoint == "plain":
        reason = f"needs a checkpoint that is already {' or '.join(profile.checkpoints)}"
        return Obstacle("checkpoint", reason, UsageError, by_override=False)
    if not any(checkpoint in one.checkpoints for one in kind.profiles):
        reason = f"the checkpoint is quantised as {checkpoint}, which {kind.package.name} does not read"
        return Obstacle("checkpoint", reason, UnsupportedModelError, by_override=False)
    reason = f"the checkpoint is {checkpoint} already, and {profile.precision} would quantise it a second time"
    return Obstacle("checkpoint", reason, UsageError, by_override=False)


def _asked_for_another(kind: PlanKind, profile: Profile, question: Question) -> Obstacle | None:
    overrides = question.overrides
    for name, override, own in (
        ("engine", overrides.engine, kind.name),
        ("profile", overrides.profile, profile.name),
        ("precision", overrides.precision, profile.precision),
    ):
        if override is not None and override.value != own:
            reason = f"{asked(override, name)} asks for {override.value}"
            return Obstacle("override", reason, UsageError, by_override=True)
    return None


def _goal_differs(_: PlanKind, profile: Profile, question: Question) -> Obstacle | None:
    if profile.goal == question.goal:
        return None
    reason = f"is for {profile.goal}, and the goal is {question.goal}"
    return Obstacle("goal", reason, UsageError, by_override=True)


def _must_be_asked_for(kind: PlanKind, profile: Profile, question: Question) -> Obstacle | None:
    checkpoint, overrides = kind.checkpoint(question.model), question.overrides
    if profile.checkpoints.get(checkpoint) != ON_REQUEST or overrides.precision or overrides.profile:
        return None
    by_engine = all(one.checkpoints.get(checkpoint, ON_REQUEST) == ON_REQUEST for one in kind.profiles)
    if overrides.engine and by_engine:
        return None
    flag = f"--engine {kind.name}" if by_engine else f"--precision {profile.precision}"
    return Obstacle("on_request", f"is taken only when asked for ({flag})", UsageError, by_override=True)


def _computes_in_another(_: PlanKind, profile: Profile, question: Question) -> Obstacle | None:
    override = question.overrides.activation_precision
    if override is None or override.value in profile.activation_precisions:
        return None
    offered = ", ".join(profile.activation_precisions)
    reason = f"{profile.name} computes in {offered or 'what the checkpoint is stored in'}"
    return Obstacle(COMPUTE, reason, UsageError, by_override=True, remedy="leave it out")


def _takes_no_adapters(kind: PlanKind, profile: Profile, question: Question) -> Obstacle | None:
    override = question.overrides.max_loras
    why = kind.no_adapters(profile, question) if override else ""
    if not override or not why:
        return None
    return Obstacle("adapters", f"takes no LoRA adapters: {why}", UnsupportedModelError, by_override=False)


def _does_not_speculate(kind: PlanKind, _: Profile, question: Question) -> Obstacle | None:
    reason = why_not(kind.speculates, question)
    return Obstacle(SPECULATIVE, reason, UsageError, by_override=True) if reason else None


_RULES: tuple[Callable[[PlanKind, Profile, Question], Obstacle | None], ...] = (
    _takes_no_adapters,
    _asked_for_another,
    _goal_differs,
    _must_be_asked_for,
    _computes_in_another,
    _does_not_speculate,
)


def nothing_left(judged: Sequence[Judged], question: Question, place: Place) -> StokerError:
    """The error of what stands against the profiles that the overrides point at."""
    if error := _unavailable(judged, question, place):
        return error
    wanted = [one for one in judged if not one.possible and _wanted(one, question)]
    wanted.sort(key=lambda one: (_is_unknown(one), one.kind.checkpoint(question.model) not in one.profile.checkpoints))
    if not wanted:
        return _not_offered(judged, question, place)
    first, obstacle = wanted[0], wanted[0].obstacle
    assert obstacle is not None
    if place.pool is None and (error := first.kind.unknown(question.model)):
        return error
    what = _not_from(question, place) if place.pool else _not_in(question, first.profile)
    return obstacle.error(what, why=obstacle.reason, remedy=obstacle.remedy or _possible(judged, place))


def _unavailable(judged: Sequence[Judged], question: Question, place: Place) -> StokerError | None:
    """Where one of these overrides is what no profile has."""
    overrides = question.overrides
    for name, override, code in (
        ("kv-precision", overrides.kv_precision, CACHE),
        ("activation-precision", overrides.activation_precision, COMPUTE),
        ("speculative", overrides.speculative, SPECULATIVE),
    ):
        obstacle = next((one.obstacle for one in judged if one.obstacle and one.obstacle.code == code), None)
        if override and obstacle:
            what = f"{asked(override, name)} {override.value} is not available"
            what = _not_from(question, place) if place.pool and code == CACHE else what
            remedy = obstacle.remedy if code != SPECULATIVE else "leave it out"
            return obstacle.error(what, why=obstacle.reason, remedy=remedy)
    return None


def _not_from(question: Question, place: Place) -> str:
    return f"{question.model.served_name} cannot be served from {place.name}"


def _not_in(question: Question, profile: Profile) -> str:
    return f"{question.model.served_name} cannot be served in {profile.precision} here"


def _is_unknown(one: Judged) -> bool:
    return one.obstacle is not None and one.obstacle.code == UNKNOWN


def _wanted(one: Judged, question: Question) -> bool:
    return not any(rule(one.kind, one.profile, question) for rule in (_asked_for_another, _goal_differs))


def _not_offered(judged: Sequence[Judged], question: Question, place: Place) -> UsageError:
    precision = question.overrides.precision
    if precision is None:
        return UsageError(f"no profile offers the goal {question.goal}", remedy=_possible(judged, place))
    what = f"no profile offers precision {precision.value} with the goal {question.goal}"
    for one in judged:
        if one.possible and one.profile.precision == precision.value:
            return UsageError(what, remedy=f"--goal {one.profile.goal} has it")
    return UsageError(what, remedy=_possible(judged, place))


def _possible(judged: Iterable[Judged], place: Place) -> str:
    possible = sorted({one.profile.precision for one in judged if one.possible})
    if possible:
        return f"possible here: {', '.join(possible)}"
    return f"no {'GPU ' if place.pool else ''}profile suits this model on this machine"
