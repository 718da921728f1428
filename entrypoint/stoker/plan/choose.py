"""Which planner is asked: that for the machine's GPUs first, then that for its CPU."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from stoker.errors import DoesNotFitError, StokerError, UsageError
from stoker.kinds.tensorrt_llm.plan.catalogue import Catalogue, Kind
from stoker.kinds.tensorrt_llm.plan.host import is_invented
from stoker.kinds.tensorrt_llm.plan.planner import Refused, check_parallel, plan_gpus
from stoker.kinds.tensorrt_llm.plan.rules import CACHES, WEIGHTS
from stoker.nearest import did_you_mean
from stoker.plan.archives import refuse_archive
from stoker.plan.overrides import asked, check_agreement, check_names, check_numbers
from stoker.plan.planner import check_context, longest_context, make_plan
from stoker.plan.profile import Profile
from stoker.plan.purpose import suitable
from stoker.plan.types import Overrides, Plan, Reason, Rejection
from stoker.probe.machine import Machine
from stoker.resolve.model import Model


def choose_plan(
    machine: Machine,
    model: Model,
    profiles: Sequence[Profile],
    nvidia: Catalogue,
    overrides: Overrides,
    available: Set[str] | None = None,
) -> Plan:
    """The plan for the GPUs if there are any that serve the model as given, else that for the CPU.

    `available` are the engine kinds that can be built here; None plans as if all could. Raises what make_plan raises.
    """
    if model.pooling is not None:
        return _cpu_plan(machine, model, profiles, overrides)
    profiles = suitable(profiles, model, overrides)
    names = [*(one.name for one in profiles), *(one.name for one in nvidia.profiles)]
    _check_profile_name(overrides, names)
    if not machine.gpus:
        _refuse_gpu_profile(overrides, nvidia, "it needs a GPU, and none was found")
        return _cpu_plan(machine, model, profiles, overrides)
    if override := override_for_the_cpu(overrides, profiles):
        plan = _cpu_plan(machine, model, profiles, overrides)
        return _instead_of_gpus(plan, "serving from the CPU", f"only its engine has {override}")
    kinds = frozenset(nvidia.kinds) if available is None else frozenset(nvidia.kinds) & available
    if not kinds:
        return _without_gpu_kinds(machine, model, profiles, nvidia, overrides)
    within = replace(nvidia, profiles=tuple(one for one in nvidia.profiles if one.kind.name in kinds))
    return _with_gpus(machine, model, profiles, within, overrides)


def _cpu_plan(machine: Machine, model: Model, profiles: Sequence[Profile], overrides: Overrides) -> Plan:
    """Raises what make_plan raises, and UnsupportedModelError for a checkpoint that no builder for CPUs reads."""
    refuse_archive(model)
    return make_plan(machine, model, profiles, overrides)


def _check_profile_name(overrides: Overrides, names: Sequence[str]) -> None:
    override = overrides.profile
    if override is not None and override.value not in names:
        what = f"{asked(override, 'profile')}: unknown profile {override.value!r}"
        raise UsageError(what, remedy=did_you_mean(override.value, names))


def override_for_the_cpu(overrides: Overrides, profiles: Sequence[Profile]) -> str:
    """The override that only the CPU's engines know; empty without one."""
    names = {one.name for one in profiles}
    precisions = {one.precision for one in profiles}.difference(WEIGHTS)
    caches = {kv for one in profiles for kv in one.kv_precisions}.difference(CACHES)
    known = ((overrides.profile, names), (overrides.precision, precisions), (overrides.kv_precision, caches))
    return next((override.value for override, own in known if override is not None and override.value in own), "")


def _refuse_gpu_profile(overrides: Overrides, nvidia: Catalogue, why: str) -> None:
    override = overrides.profile
    if override is not None and override.value in {one.name for one in nvidia.profiles}:
        raise DoesNotFitError(f"{asked(override, 'profile')} {override.value} cannot be had", why=why)


def _not_installed(kind: Kind) -> str:
    return f"{kind.name} engines need {kind.image.release}, which is not installed here; the NVIDIA image has it"


def _refuse_gpu_precision(overrides: Overrides, profiles: Sequence[Profile], nvidia: Catalogue) -> None:
    override = overrides.precision
    if override is not None and override.value in set(WEIGHTS).difference(one.precision for one in profiles):
        what = f"{asked(override, 'precision')} {override.value} cannot be had"
        possible = ", ".join(sorted({one.precision for one in profiles}))
        first = next(iter(nvidia.kinds.values()))
        raise DoesNotFitError(what, why=_not_installed(first), remedy=f"possible on the CPU: {possible}")


def _without_gpu_kinds(
    machine: Machine, model: Model, profiles: Sequence[Profile], nvidia: Catalogue, overrides: Overrides
) -> Plan:
    first = next(iter(nvidia.kinds.values()))
    _refuse_gpu_profile(overrides, nvidia, _not_installed(first))
    _refuse_gpu_precision(overrides, profiles, nvidia)
    plan = _cpu_plan(machine, model, profiles, overrides)
    rejected = tuple(Rejection(one.name, _not_installed(one.kind)) for one in nvidia.profiles)
    name = machine.gpus[0].name
    found = _instead_of_gpus(plan, f"serving from the CPU, not from {name}", _not_installed(first))
    return replace(found, rejected=(*plan.rejected, *rejected))


def _instead_of_gpus(plan: Plan, what: str, why: str) -> Plan:
    return replace(
        plan, reasons=(Reason("not_from_gpus", f"{what}: {why}"), *_without_gpu_line(plan)), why_not_gpus=why
    )


def _without_gpu_line(plan: Plan) -> tuple[Reason, ...]:
    """The CPU planner's own words for GPUs that it cannot use."""
    return tuple(reason for reason in plan.reasons if reason.code != "gpus")


def _with_gpus(
    machine: Machine, model: Model, profiles: Sequence[Profile], nvidia: Catalogue, overrides: Overrides
) -> Plan:
    check_names(overrides)
    check_numbers(overrides)
    for profile in nvidia.profiles:
        if overrides.profile and overrides.profile.value == profile.name:
            check_agreement(profile, overrides, nvidia.profiles)
    check_parallel(overrides, machine)
    longest = longest_context(model)
    check_context(overrides, longest, model)
    found = plan_gpus(machine, model, nvidia, overrides, longest)
    if isinstance(found, Plan):
        others = tuple(Rejection(one.name, "the GPU comes before the CPU") for one in profiles)
        return replace(found, rejected=(*found.rejected, *others))
    return _from_the_cpu(machine, model, profiles, overrides, found)


def _from_the_cpu(
    machine: Machine, model: Model, profiles: Sequence[Profile], overrides: Overrides, refused: Refused
) -> Plan:
    """Only where the CPU is known, and the overrides are none that only a GPU could grant. Raises the GPUs' refusal."""
    if refused.by_override:
        raise refused.error
    if is_invented(machine):
        remedy = f"describe the host too (--machine {machine.name},cpu:16c-64g) to plan for its CPU"
        error = refused.error
        raise type(error)(error.what, why=error.why, remedy=f"{error.remedy}; {remedy}".lstrip("; "))
    try:
        plan = _cpu_plan(machine, model, profiles, overrides)
    except StokerError:
        raise refused.error from None
    why = refused.error.why or refused.error.what
    found = _instead_of_gpus(plan, "serving from the CPU", f"{refused.error.what}: {why}")
    return replace(found, rejected=(*refused.rejected, *plan.rejected))
