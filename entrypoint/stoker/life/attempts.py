"""What is tried when an engine fails: a decision for each kind of failure, made without looking at anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stoker.errors import DamagedEngineError, EngineMemoryError, StokerError, UnstableEngineError
from stoker.launch.death import Death
from stoker.plan.step_down import stepped_down
from stoker.plan.types import Plan

MOST_REPLACEMENTS = 3


@dataclass(frozen=True)
class History:
    """What a server has been through.

    `steps_down`: why the limits of the plan's profile were halved, once for each time. `given_up`: why, by profile.
    `deaths`: those of the current engine, after it was ready; none for one that never was. `replaced`: how many
    damaged engines were replaced since one was last found whole. `own_engine`: the engine is the store's, so that it
    can be replaced and another profile built; one that is served from an exported directory is all there is.
    """

    steps_down: tuple[str, ...] = ()
    given_up: Mapping[str, str] = field(default_factory=dict)
    deaths: tuple[Death, ...] = ()
    replaced: int = 0
    own_engine: bool = True


@dataclass(frozen=True)
class Again:
    """Start the same engine with the same limits."""

    why: str


@dataclass(frozen=True)
class Smaller:
    """Start the same engine with the limits of `plan`."""

    plan: Plan


@dataclass(frozen=True)
class NextProfile:
    """Plan without this one; where nothing else serves the model, the failure is final."""

    given_up: Mapping[str, str]


@dataclass(frozen=True)
class Replace:
    """Put the engine aside, and fetch or build it again."""

    fault: str


@dataclass(frozen=True)
class GiveUp:
    """End with this error."""

    error: StokerError


Decision = Again | Smaller | NextProfile | Replace | GiveUp


def next_attempt(plan: Plan, error: StokerError, history: History) -> Decision:
    """What to do about `error`, which ended the engine of `plan`."""
    if isinstance(error, DamagedEngineError):
        return _after_damage(error, history)
    if not isinstance(error, UnstableEngineError | EngineMemoryError):
        return GiveUp(error)
    if isinstance(error, UnstableEngineError) and (blamed := _blamed(history.deaths)):
        return Again(f"requests ended it: {', '.join(blamed)}")
    if smaller := stepped_down(plan, error.what):
        return Smaller(smaller)
    if not history.own_engine:
        return GiveUp(error)
    profile = plan.chosen.profile
    return NextProfile({**history.given_up, profile: f"{profile} was given up: {error}"})


def _blamed(deaths: Sequence[Death]) -> tuple[str, ...]:
    """What ended the engine each time, if it was always a request: smaller limits would not help against those."""
    return tuple(dict.fromkeys(death.blamed for death in deaths)) if all(death.blamed for death in deaths) else ()


def _after_damage(error: DamagedEngineError, history: History) -> Decision:
    if not history.own_engine:
        return GiveUp(error)
    if history.replaced < MOST_REPLACEMENTS:
        return Replace(error.why)
    why = f"{error.why}; {history.replaced} engines before it were damaged too"
    return GiveUp(DamagedEngineError(error.what, why=why, remedy="check the cache's disk and this machine's memory"))
