"""Compiled engines first; where none serves the model on this machine, PyTorch, with the reason."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from stoker.errors import DoesNotFitError, ModelError, StokerError, UnsupportedModelError, UsageError
from stoker.kinds.openvino.build.families import check_config
from stoker.kinds.tensorrt_llm.plan.catalogue import Catalogue
from stoker.kinds.tensorrt_llm.plan.host import is_invented
from stoker.kinds.torch.plan.catalogue import KIND, TorchCatalogue
from stoker.kinds.torch.plan.planner import plan_torch
from stoker.plan.choose import choose_plan, override_for_the_cpu
from stoker.plan.overrides import asked
from stoker.plan.profile import Profile
from stoker.plan.types import Overrides, Plan, Reason, Rejection
from stoker.probe.machine import NVIDIA, Machine
from stoker.resolve.model import Model

_INSTALL = "pip install 'stoker[torch]'"
_CPU_KIND = "openvino"


def plan_kind(
    machine: Machine,
    model: Model,
    profiles: Sequence[Profile],
    nvidia: Catalogue,
    torch: TorchCatalogue,
    overrides: Overrides,
    available: Set[str] | None = None,
) -> Plan:
    """plan_any's, of the engine kind that the user asks for. Raises UsageError where another would be taken."""
    plan = plan_any(machine, model, profiles, nvidia, torch, overrides, available)
    engine = overrides.engine
    if engine is not None and plan.chosen.engine != engine.value:
        what = f"{asked(engine, 'engine')} {engine.value} is not available for {model.served_name}"
        remedy = f"{plan.chosen.engine} would serve it: leave {asked(engine, 'engine')} out, or name a --profile"
        raise UsageError(what, why=str(plan.reasons[0]), remedy=remedy)
    return plan


def plan_any(
    machine: Machine,
    model: Model,
    profiles: Sequence[Profile],
    nvidia: Catalogue,
    torch: TorchCatalogue,
    overrides: Overrides,
    available: Set[str] | None = None,
) -> Plan:
    """choose_plan's, unless no compiled engine serves the model, or only the CPU's where there are GPUs.

    `available` as in choose_plan. Raises what the compiled engines' planners raise where PyTorch would not do either.
    """
    if model.pooling is not None and available is not None and _CPU_KIND not in available:
        raise _no_openvino()
    if model.pooling is not None:
        return choose_plan(machine, model, profiles, nvidia, overrides, available)
    installed = available is None or KIND in available
    if _is_asked_for(overrides, torch):
        return _as_asked(machine, model, torch, overrides, installed)
    unknown = _no_builder(model, available)
    try:
        plan = _compiled(machine, model, profiles, nvidia, overrides, available)
    except UsageError:
        raise
    except StokerError as error:
        return _instead(error, machine, model, torch, overrides, installed and bool(machine.gpus), ())
    if plan.chosen.engine == _CPU_KIND and unknown is not None:
        aside = (*plan.rejected, Rejection(plan.chosen.profile, str(unknown)))
        return _instead(unknown, machine, model, torch, overrides, installed, aside)
    return _on_gpus(plan, profiles, torch, overrides, installed) or plan


def _compiled(
    machine: Machine,
    model: Model,
    profiles: Sequence[Profile],
    nvidia: Catalogue,
    overrides: Overrides,
    available: Set[str] | None,
) -> Plan:
    """choose_plan's, of what is no other vendor's GPU: those have no compiled engines."""
    theirs = tuple(gpu for gpu in machine.gpus if gpu.vendor == NVIDIA)
    plan = choose_plan(replace(machine, gpus=theirs), model, profiles, nvidia, overrides, available)
    plan = replace(plan, machine=machine)
    other = _no_compiled_engine(machine)
    if not other or plan.chosen.devices:
        return plan
    why = "; ".join(filter(None, (plan.why_not_gpus, other)))
    return replace(
        plan, why_not_gpus=why, reasons=(Reason("not_from_gpus", f"serving from the CPU: {why}"), *plan.reasons)
    )


def _no_compiled_engine(machine: Machine) -> str:
    """What another vendor's GPU lacks; empty without one."""
    others = [gpu.name for gpu in machine.gpus if gpu.vendor != NVIDIA]
    return f"{others[0]} has no compiled engine: TensorRT-LLM is NVIDIA's" if others else ""


def _is_asked_for(overrides: Overrides, torch: TorchCatalogue) -> bool:
    return overrides.profile is not None and overrides.profile.value in {profile.name for profile in torch.profiles}


def _as_asked(machine: Machine, model: Model, torch: TorchCatalogue, overrides: Overrides, installed: bool) -> Plan:
    assert overrides.profile is not None
    if not installed:
        what = f"{asked(overrides.profile, 'profile')} {overrides.profile.value} cannot be had"
        raise DoesNotFitError(what, why="PyTorch and transformers are not installed", remedy=_INSTALL)
    return plan_torch(machine, model, torch, overrides, "", ())


def _no_builder(model: Model, available: Set[str] | None) -> StokerError | None:
    """Why OpenVINO's builder cannot make an engine of it; of a damaged model it says so itself."""
    if available is not None and _CPU_KIND not in available:
        return _no_openvino()
    try:
        check_config(model.config)
    except UnsupportedModelError as error:
        return error
    except ModelError:
        pass
    return None


def _no_openvino() -> StokerError:
    return DoesNotFitError("OpenVINO is not installed", remedy="pip install 'stoker[cpu]'")


def _instead(
    error: StokerError,
    machine: Machine,
    model: Model,
    torch: TorchCatalogue,
    overrides: Overrides,
    possible: bool,
    rejected: Sequence[Rejection],
) -> Plan:
    """Raises `error` where PyTorch cannot serve it either."""
    if not possible:
        raise error
    why = f"{error.what}: {error.why}" if error.why else error.what
    if all(gpu.vendor != NVIDIA for gpu in machine.gpus):
        why = _no_compiled_engine(machine) or why
    try:
        return plan_torch(machine, model, torch, overrides, f"no compiled engine serves it; {why}", rejected)
    except (UsageError, DoesNotFitError, UnsupportedModelError) as other:
        raise (error if isinstance(error, DoesNotFitError) else other) from None


def _on_gpus(
    plan: Plan, profiles: Sequence[Profile], torch: TorchCatalogue, overrides: Overrides, installed: bool
) -> Plan | None:
    """For GPUs that no compiled engine serves, while the CPU's would: None where they serve, or cannot."""
    machine, cpu = plan.machine, plan.chosen.engine == _CPU_KIND
    if not (cpu and installed and machine.gpus) or override_for_the_cpu(overrides, profiles):
        return None
    aside = (*plan.rejected, Rejection(plan.chosen.profile, "the GPU comes before the CPU"))
    try:
        found = plan_torch(machine, plan.model, torch, overrides, plan.why_not_gpus, aside)
    except StokerError:
        if is_invented(machine):
            raise
        return None
    return found if found.chosen.devices else None
