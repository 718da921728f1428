"""What NVIDIA NIM's commands share: models by its URIs, and this machine's profiles of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from stoker.chain import make_plan_for, plan_of_profile
from stoker.errors import StokerError
from stoker.origin import Origin, Sourced
from stoker.plan.types import Plan
from stoker.progress import Progress
from stoker.settings.layers import Settings
from stoker.settings.nim_reading import model as model_of


@dataclass(frozen=True)
class Runnable:
    """A profile that this machine can serve the model with, as far as is planned."""

    profile: str
    plan: Plan


@dataclass(frozen=True)
class Incompatible:
    profile: str
    why: str


def with_model(settings: Settings, uri: str | None, flag: str) -> Settings:
    """With the model of `uri`, if one was given, in NIM's or our form."""
    return settings if uri is None else _with(settings, "model", model_of(uri, {})["model"], flag)


def with_profile(settings: Settings, profile: str) -> Settings:
    return _with(settings, "profile", profile, "--profile")


def _with(settings: Settings, name: str, value: Any, flag: str) -> Settings:
    values = {**settings.values, name: Sourced(value, Origin.FLAG, flag)}
    return replace(settings, values=MappingProxyType(values))


def profiles(settings: Settings, progress: Progress) -> tuple[Plan, Sequence[Runnable | Incompatible]]:
    """The plan that `stoker serve` would make, and every profile for the model's purpose, the plan's own first.
    Downloads no weights."""
    plan = make_plan_for(settings, progress, weights=False)
    others = [rejected.profile for rejected in plan.rejected]
    return plan, [Runnable(plan.chosen.profile, plan), *_judged(plan, others)]


def _judged(plan: Plan, names: Sequence[str]) -> Iterator[Runnable | Incompatible]:
    reasons = {rejected.profile: rejected.reason for rejected in plan.rejected}
    for name in dict.fromkeys(names):
        try:
            yield Runnable(name, plan_of_profile(plan, name))
        except StokerError as error:
            yield Incompatible(name, error.why or reasons.get(name, str(error)))
