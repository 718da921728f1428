"""Plans as the unit tests make them: by the kinds of this repository, with the last choice among them or without."""

from __future__ import annotations

from collections.abc import Set

from stoker.kinds import plan_kinds
from stoker.plan.kind import PlanKind
from stoker.plan.planner import make_plan
from stoker.plan.profile import AUTOMATIC, Profile
from stoker.plan.types import Overrides, Plan
from stoker.probe.machine import Machine
from stoker.resolve.model import Model


def compiled_kinds() -> tuple[PlanKind, ...]:
    """Those that are taken of their own accord, before the last choice."""
    return tuple(kind for kind in plan_kinds() if not kind.last_choice and any(map(_is_automatic, kind.profiles)))


def _is_automatic(profile: Profile) -> bool:
    return AUTOMATIC in profile.checkpoints.values()


def plan_compiled(machine: Machine, model: Model, overrides: Overrides, buildable: Set[str] | None = None) -> Plan:
    return make_plan(machine, model, compiled_kinds(), overrides, buildable)


def plan_any(machine: Machine, model: Model, overrides: Overrides, buildable: Set[str] | None = None) -> Plan:
    return make_plan(machine, model, plan_kinds(), overrides, buildable)
