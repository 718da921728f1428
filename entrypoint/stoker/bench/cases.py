"""Which engine kinds and precisions are measured: those that the planner can plan here, the others with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from stoker.bench.types import Case, NotRun, Workload
from stoker.chain import make_plan_for
from stoker.errors import DoesNotFitError, StokerError, UsageError
from stoker.kinds import plan_kinds, text_kinds
from stoker.nearest import did_you_mean
from stoker.origin import Origin, Sourced
from stoker.plan.render import speculative_text
from stoker.plan.types import TEXT, Plan
from stoker.progress import Silent
from stoker.settings.layers import Settings
from stoker.settings.spec import PRECISIONS

_UNSET: Sourced[object] = Sourced(None, Origin.DEFAULT, "default")


@dataclass(frozen=True)
class Asked:
    """`precision` is empty where the planner is to choose."""

    kind: str
    precision: str


@dataclass(frozen=True)
class Offer:
    """A profile, by what it is found with."""

    kind: str
    precision: str
    goal: str
    profile: str


def parse_kinds(kinds: str | None, precisions: str | None) -> tuple[Asked, ...]:
    """`KIND,KIND` or `KIND:int4,KIND`: a kind with no precision of its own is taken with each of
    `precisions`.

    Without `kinds` all. Raises UsageError for names that nothing here knows.
    """
    common = _listed(precisions) or ("",)
    known = tuple(kind.name for kind in text_kinds())  # what is measured is text
    asked = [entry for text in _listed(kinds) or known for entry in _asked(text, common)]
    for entry in asked:
        _check(entry.kind, "engine kind", known)
        _check(entry.precision, "precision", ("", *PRECISIONS))
    return tuple(dict.fromkeys(asked))


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _asked(text: str, common: Sequence[str]) -> Iterator[Asked]:
    kind, _, own = text.partition(":")
    for precision in [own] if own else common:
        yield Asked(kind, precision)


def _check(value: str, what: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UsageError(f"unknown {what} {value!r}", remedy=did_you_mean(value, [name for name in known if name]))


def offers() -> tuple[Offer, ...]:
    """Every profile for text of every kind, the planner's order within a kind and goal."""
    profiles = (one for kind in plan_kinds() for one in kind.profiles if TEXT in one.purposes)
    return tuple(Offer(one.engine, one.precision, one.goal, one.name) for one in profiles)


def choose_case(asked: Asked, catalogue: Sequence[Offer], settings: Settings, workload: Workload) -> Case | NotRun:
    """The first profile of the kind (and precision) that the planner takes, else what it says to the first."""
    goal = str(settings["goal"].value)
    mine = [one for one in catalogue if one.kind == asked.kind and one.goal == goal]
    fitting = [one for one in mine if asked.precision in ("", one.precision)]
    if not fitting:
        return NotRun(asked.kind, asked.precision, _no_profile(asked, mine))
    reasons = []
    for offer in fitting:
        try:
            plan = make_plan_for(with_profile(settings, offer.profile), Silent(), weights=False)
            return _case(asked.kind, plan, workload)
        except StokerError as error:
            reasons.append(str(error))
    return NotRun(asked.kind, asked.precision, reasons[0])


def _no_profile(asked: Asked, mine: Sequence[Offer]) -> str:
    if not mine:
        return f"no profile of this version serves with {asked.kind} yet"
    known = ", ".join(dict.fromkeys(one.precision for one in mine))
    return f"{asked.kind} has no profile of {asked.precision}; its precisions are {known}"


def _case(kind: str, plan: Plan, workload: Workload) -> Case:
    """DoesNotFitError where the plan's context is too short for the workload."""
    chosen = plan.chosen
    needed = workload.prompt_tokens + workload.output_tokens
    if needed > chosen.max_seq_len:
        what = f"prompt and answer need {needed} tokens, and the plan's context has {chosen.max_seq_len}"
        raise DoesNotFitError(what, remedy="ask for fewer tokens, or for more with --max-seq-len")
    limits = (chosen.max_seq_len, chosen.max_batch_size)
    return Case(kind, chosen.precision, chosen.profile, *limits, speculative_text(plan))


def with_and_without(settings: Settings) -> tuple[Settings, ...]:
    """Without guesses first, where the settings ask for some."""
    if settings["speculative"].value == "off":
        return (settings,)
    return (settings.but("speculative", "off", "--speculative"), settings)


def with_profile(settings: Settings, profile: str) -> Settings:
    """The profile settles kind and precision, so that those of the environment or a file do not contradict it."""
    values: Mapping[str, Sourced[object]] = {
        **settings.values,
        "profile": Sourced(profile, Origin.FLAG, "--profile"),
        "precision": _UNSET,
        "engine": _UNSET,
    }
    return replace(settings, values=MappingProxyType(dict(values)))
