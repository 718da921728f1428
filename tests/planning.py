"""Plans as the unit tests make them: by the kinds of this repository, with the last choice among them or without."""

from __future__ import annotations

from collections.abc import Set

from stoker.kinds import plan_kinds
from stoker.plan.kind import PlanKind
from stoker.plan.planner import make_plan
from stoker.plan.types import Overrides, Plan
from stoker.probe.machine import Machine
from stoker.resolve.model import Model


def compiled_kinds() -> tuple[PlanKind, ...]:
    return tuple(kind for kind in without_vllm() if not kind.last_choice)


def without_vllm() -> tuple[PlanKind, ...]:
    """What the others choose, as where vLLM is not installed: it serves almost every model on almost every GPU."""
    return tuple(kind for kind in plan_kinds() if kind.name != "vllm")


def plan_compiled(machine: Machine, model: Model, overrides: Overrides, buildable: Set[str] | None = None) -> Plan:
    return make_plan(machine, model, compiled_kinds(), overrides, buildable)


def plan_any(machine: Machine, model: Model, overrides: Overrides, buildable: Set[str] | None = None) -> Plan:
    return make_plan(machine, model, without_vllm(), overrides, buildable)
