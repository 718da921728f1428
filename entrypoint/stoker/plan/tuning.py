"""What `stoker tune` varies, and how what it found becomes part of a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stoker.errors import StokerError
from stoker.origin import Origin, Sourced
from stoker.plan.types import Chosen, Overrides, Plan, Reason

if TYPE_CHECKING:
    from stoker.plan.profile import Profile
    from stoker.probe.machine import Cpu

SOURCE = "stoker tune"


@dataclass(frozen=True)
class Tuned:
    """The quickest of what was measured for a model on a machine. `values`: overrides by name, none where the plan was
    quickest as it is. `best` and `planned` are tokens/s with and without them, at so many `streams`; `date` as
    2026-11-29."""

    engine: str
    precision: str
    goal: str
    values: Mapping[str, str | int]
    streams: int
    best: float
    planned: float
    date: str


def nothing_to_try(_profile: Profile, _chosen: Chosen, _cpu: Cpu) -> Mapping[str, Sequence[str | int]]:
    """For kinds whose limits are built into their engines."""
    return {}


def limits_to_try(_profile: Profile, chosen: Chosen, _cpu: Cpu) -> Mapping[str, Sequence[str | int]]:
    """Half and twice the tokens per step and the concurrent sequences."""
    names = ("max_num_tokens", "max_batch_size")
    return {name: (2 * getattr(chosen, name), max(getattr(chosen, name) // 2, 1)) for name in names}


def with_values(overrides: Overrides, values: Mapping[str, str | int]) -> Overrides:
    """What the user set stays."""
    fresh: dict[str, Any] = {
        name: Sourced(value, Origin.TUNED, SOURCE) for name, value in values.items() if getattr(overrides, name) is None
    }
    return replace(overrides, **fresh)


def tuned_plan(make: Callable[[Overrides], Plan], overrides: Overrides, tuned: Tuned | None) -> Plan:
    """With what was measured, where it is for such a plan and still fits; the reasons say which."""
    plan = make(overrides)
    if tuned is None:
        return plan
    values = dict(tuned.values)
    if tuned.engine != plan.chosen.engine:
        values["engine"] = tuned.engine
    try:
        found = make(with_values(overrides, values))
    except StokerError as error:
        return _noted(plan, f"what `stoker tune` measured on {tuned.date} is not used: {error.what}")
    if (found.chosen.engine, found.chosen.precision) != (tuned.engine, tuned.precision):
        return _noted(plan, f"what `stoker tune` measured on {tuned.date} was {tuned.engine} in {tuned.precision}")
    return _noted(found, _words(tuned))


def _words(tuned: Tuned) -> str:
    streams = "1 stream" if tuned.streams == 1 else f"{tuned.streams} streams"
    if not tuned.values and tuned.best <= tuned.planned:
        return f"`stoker tune` on {tuned.date}: nothing was quicker than {tuned.planned:.1f} tokens/s at {streams}"
    gain = f"{tuned.best:.1f} tokens/s at {streams}, {tuned.planned:.1f} without it"
    return f"tuned on this machine on {tuned.date}: {gain} (`stoker tune --forget` or --no-tune leaves it out)"


def _noted(plan: Plan, text: str) -> Plan:
    return replace(plan, reasons=(Reason("tuned", text), *plan.reasons))
