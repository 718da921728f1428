"""One turn: some engine kinds at one place. The best of their candidates is taken, or all are refused with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial

from stoker.errors import DoesNotFitError, StokerError
from stoker.plan.attempt import Attempt, attempt, short
from stoker.plan.devices import Place, Split, busy, nodes_of, pools, splits
from stoker.plan.fit import largest_that_fits
from stoker.plan.kind import PlanKind, Question
from stoker.plan.profile import Profile
from stoker.plan.refusal import limits_refused, no_split, replicas_refused, too_large
from stoker.plan.replicas import layouts
from stoker.plan.selection import UNKNOWN, Judged, judge, nothing_left
from stoker.plan.types import Overrides, Rejection
from stoker.plan.units import count_text
from stoker.probe.machine import Machine

MISSING, ELSEWHERE, FACTS, SIZES, MEMORY = "missing", "elsewhere", "facts", "sizes", "memory"
"""Why a turn is refused: what it takes is not installed; the kinds run on other devices; no profile suits; without the
sizes that the user set there would be a plan; nothing fits. (Besides selection.UNKNOWN: no kind knows the model.)"""

_NOT_QUANTISED = ("bf16", "f16", "f32")


@dataclass(frozen=True)
class Turn:
    kinds: tuple[PlanKind, ...]
    place: Place


@dataclass(frozen=True)
class Refusal:
    code: str
    error: StokerError
    kinds: tuple[PlanKind, ...]
    on_gpu: bool
    rejected: tuple[Rejection, ...] = ()

    @property
    def words(self) -> str:
        error = self.error
        if self.code == MISSING:
            return f"{error.what}; {error.remedy}"
        return f"{error.what}: {error.why}" if error.why else error.what


@dataclass(frozen=True)
class Taken:
    """`before` would have been taken with more memory; `next_profile` is for the case that the build fails."""

    attempt: Attempt
    before: tuple[Rejection, ...]
    rejected: tuple[Rejection, ...]
    next_profile: str


def elsewhere(turn: Turn) -> Refusal:
    """None of the kinds runs on these devices."""
    why = "; ".join(dict.fromkeys(kind.elsewhere for kind in turn.kinds))
    error = DoesNotFitError(f"{turn.place.name} has no compiled engine", why=why)
    return Refusal(ELSEWHERE, error, turn.kinds, turn.place.pool is not None)


def not_installed(turn: Turn) -> Refusal:
    first = turn.kinds[0]
    error = DoesNotFitError(_not_installed(first), remedy=first.package.remedy)
    rejected = tuple(
        Rejection(one.name, f"{_not_installed(kind)}; {kind.package.remedy}")
        for kind in turn.kinds
        for one in kind.profiles
    )
    return Refusal(MISSING, error, turn.kinds, turn.place.pool is not None, rejected)


def _not_installed(kind: PlanKind) -> str:
    return f"{kind.name} engines need {kind.package.name}, which is not installed here"


def all_busy(kinds: Sequence[PlanKind], machine: Machine, buildable: Set[str] | None) -> tuple[Refusal, ...]:
    """For a machine with GPUs none of which is free."""
    vendors = {gpu.vendor for gpu in machine.gpus}
    wanting = Turn(
        tuple(kind for kind in kinds if not kind.last_choice and vendors & set(kind.devices)), Place(machine.cpu)
    )
    if not wanting.kinds or pools(machine):
        return ()
    own = tuple(kind for kind in wanting.kinds if buildable is None or kind.name in buildable)
    if not own:
        return (replace(not_installed(wanting), on_gpu=True),)
    reasons = "; ".join(f"GPU {gpu.index} ({gpu.name}) {reason}" for gpu, reason in busy(machine))
    error = DoesNotFitError("no GPU is free", why=reasons, remedy="stop what uses them, or serve from the CPU")
    rejected = tuple(Rejection(one.name, error.what) for kind in own for one in kind.profiles)
    return (Refusal(FACTS, error, own, True, rejected),)


def play(turn: Turn, question: Question) -> Taken | Refusal:
    place = turn.place
    judged = judge(turn.kinds, question, place)
    ruled_out = tuple(Rejection(one.profile.name, one.obstacle.reason) for one in judged if one.obstacle)
    free = [one for one in judged if one.obstacle is None]

    def refuse(code: str, error: StokerError, others: Iterable[Rejection] = ()) -> Refusal:
        return Refusal(code, error, turn.kinds, place.pool is not None, (*others, *ruled_out))

    if not free:
        unknown = all(one.obstacle and one.obstacle.code == UNKNOWN for one in judged)
        return refuse(UNKNOWN if unknown else FACTS, nothing_left(judged, question, place))
    attempts = _attempts(free, turn, question)
    if not attempts and (replicas := _fewer_replicas(free, turn, question)):
        return refuse(SIZES, replicas, (Rejection(one.profile.name, replicas.why) for one in free))
    if not attempts:
        error = no_split(free[0].kind, free[0].profile, question, place)
        return refuse(SIZES, error, (Rejection(one.profile.name, error.why) for one in free))
    taken = _best(attempts)
    if taken is not None:
        return _taken(taken, attempts, ruled_out, question)
    too_short = (Rejection(name, short(own)) for name, own in _by_profile(attempts).items())
    if replicas := _fewer_replicas(free, turn, question):
        return refuse(SIZES, replicas, too_short)
    if limits := limits_refused(attempts, question.overrides):
        return refuse(SIZES, limits, too_short)
    return refuse(MEMORY, too_large(attempts, _possible(judged, turn, question), question, place), too_short)


def _fewer_replicas(free: Sequence[Judged], turn: Turn, question: Question) -> StokerError | None:
    """The error for more replicas than there is room for; None where fewer would not do either."""
    override = question.overrides.replicas
    if override is None or override.value == 1:
        return None

    def with_replicas(count: int) -> Attempt | None:
        overrides = replace(question.overrides, replicas=replace(override, value=count))
        return _best(_attempts(free, turn, replace(question, overrides=overrides)))

    one = with_replicas(1)
    if one is None:
        return None
    most = largest_that_fits(1, override.value, 1, lambda count: with_replicas(count) is not None)
    return replicas_refused(override, most, with_replicas(most) or one, turn.place)


def _attempts(judged: Iterable[Judged], turn: Turn, question: Question) -> list[Attempt]:
    """By kind, those that a table of the vendor lists first, then by the order of profiles and splits."""
    found = [each for one in judged for each in _attempts_of(one.kind, one.profile, turn.place, question)]
    return sorted(found, key=lambda each: (turn.kinds.index(each.kind), bool(each.candidate.unproven)))


def _attempts_of(kind: PlanKind, profile: Profile, place: Place, question: Question) -> Iterator[Attempt]:
    for split in _splits(kind, profile, place, question):
        for layout in layouts(place, split, question.overrides):
            candidate = kind.candidate(profile, question, layout.place, split, layout.devices)
            yield attempt(kind, candidate, question, layout.replicas)


def _splits(kind: PlanKind, profile: Profile, place: Place, question: Question) -> tuple[Split, ...]:
    """The fewest GPUs first; for latency the most that are worth it. Pipelines do not shorten a step."""
    ordered = splits(place, question.overrides, partial(_why_not, kind, profile, question, place))
    if profile.goal != "latency" or place.pool is None or not place.pool.nvlink:
        return ordered
    worth = [
        split
        for split in ordered
        if split.gpus == 1 or (split.pipeline == 1 and kind.spreads_for_latency(profile, question, split))
    ]
    return (*reversed(worth), *(split for split in ordered if split not in worth))


def _why_not(kind: PlanKind, profile: Profile, question: Question, place: Place, split: Split) -> str:
    if not kind.spans_machines and nodes_of(split, place, question.overrides) > 1:
        return f"an engine of {kind.name} runs on one machine"
    return kind.why_not_split(profile, question, place, split)


def _possible(judged: Iterable[Judged], turn: Turn, question: Question) -> list[Attempt]:
    """Whatever the cache's type that the user set: it is the precision that is weighed here."""
    limits = Overrides(max_seq_len=question.overrides.max_seq_len, max_batch_size=question.overrides.max_batch_size)
    freer = replace(question, overrides=limits)
    own = (one for one in judged if one.possible and one.profile.goal == question.goal)
    return _attempts(own, turn, freer)


def _best(attempts: Sequence[Attempt]) -> Attempt | None:
    """The first comfortable fit, else the first fit."""
    fitting = [one for one in attempts if one.found]
    comfortable = [one for one in fitting if one.found and one.found.comfortable]
    return next(iter([*comfortable, *fitting]), None)


def _by_profile(attempts: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = {}
    for one in attempts:
        found.setdefault(one.candidate.profile.name, []).append(one)
    return found


def _taken(taken: Attempt, attempts: list[Attempt], ruled_out: tuple[Rejection, ...], question: Question) -> Taken:
    profile, place = taken.candidate.profile, attempts.index(taken)
    others = {name: own for name, own in _by_profile(attempts).items() if name != profile.name}
    left = {name: Rejection(name, _why_left(own, taken, attempts)) for name, own in others.items()}
    before = tuple(left[name] for name, own in others.items() if attempts.index(own[0]) < place)
    return Taken(taken, before, (*left.values(), *ruled_out), _next_profile(taken, attempts, question))


def _why_left(own: Sequence[Attempt], taken: Attempt, attempts: Sequence[Attempt]) -> str:
    fitting = next((one for one in own if one.found), None)
    if fitting is None:
        return short(own)
    if attempts.index(fitting) < attempts.index(taken) and (found := fitting.found):
        least = f"only {count_text(found.context)} tokens and {found.batch} concurrent sequences"
        return f"would leave a context of {least}"
    if fitting.candidate.unproven and not taken.candidate.unproven:
        return f"is in no table for {fitting.candidate.unproven}, so others come first"
    return f"{taken.candidate.profile.name} comes before it"


def _next_profile(taken: Attempt, attempts: Sequence[Attempt], question: Question) -> str:
    """What would have been taken without this profile, where we are the ones who quantise, and of our own accord."""
    profile, overrides = taken.candidate.profile, question.overrides
    given = question.model.quantization or overrides.precision or overrides.profile
    if not taken.kind.retries_build or profile.precision in _NOT_QUANTISED or given:
        return ""
    following = _best([one for one in attempts if one.candidate.profile.name != profile.name])
    return following.candidate.profile.name if following else ""
