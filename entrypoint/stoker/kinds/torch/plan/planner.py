"""The plan for the kind `torch`: a pure function, like those for compiled engines, which it comes after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stoker.errors import DoesNotFitError, StokerError, UnsupportedModelError, UsageError
from stoker.kinds.torch.plan.catalogue import KIND, TorchCatalogue
from stoker.kinds.torch.plan.degrees import check_degree, degrees, too_few_devices
from stoker.kinds.torch.plan.device import Device, computed_dtype, devices
from stoker.kinds.torch.plan.fit import Setting, TorchFit, fit, least_needed
from stoker.kinds.torch.plan.reasons import reasons_for, sources_for
from stoker.plan.archives import refuse_archive
from stoker.plan.overrides import DEFAULT_GOAL, asked, check_agreement, check_names, check_numbers
from stoker.plan.planner import check_context, longest_context
from stoker.plan.types import TEXT, Chosen, Overrides, Plan, Rejection
from stoker.plan.units import size_text
from stoker.probe.machine import Machine
from stoker.resolve.model import Model

_QUANTISED = ("int8", "int4")


def plan_torch(
    machine: Machine,
    model: Model,
    catalogue: TorchCatalogue,
    overrides: Overrides,
    why: str,
    rejected: Sequence[Rejection],
) -> Plan:
    """`why` no compiled engine serves, and what each of their profiles was `rejected` for.

    Raises UsageError for overrides that contradict each other, UnsupportedModelError for checkpoints that PyTorch alone
    does not read, and DoesNotFitError.
    """
    _check(model, catalogue, overrides)
    longest = longest_context(model)
    check_context(overrides, longest, model)
    settings = list(_settings(machine, model, catalogue, overrides))
    if not settings:
        raise too_few_devices(overrides, _devices(machine, overrides)) or _no_profile(overrides, catalogue)
    for setting in settings:
        if found := fit(setting, overrides, longest):
            return _plan(machine, setting, found, overrides, longest, why, rejected)
    raise _too_large(settings, overrides)


def _check(model: Model, catalogue: TorchCatalogue, overrides: Overrides) -> None:
    refuse_archive(model)
    check_names(overrides)
    check_numbers(overrides)
    for profile in catalogue.profiles:
        if overrides.profile and overrides.profile.value == profile.name:
            check_agreement(profile, overrides, catalogue.profiles)
    if model.quantization is not None:
        method = model.quantization.method
        raise UnsupportedModelError(
            f"{model.served_name} cannot be served by PyTorch here",
            why=f"the checkpoint is quantised already ({method}), which needs packages that Stoker does not bring",
        )
    if overrides.pipeline_parallel and overrides.pipeline_parallel.value > 1:
        raise UsageError("the torch kind has no pipeline parallelism", remedy="use 1")
    check_degree(model.architecture, overrides, _precision(overrides, catalogue) in _QUANTISED)


def _settings(machine: Machine, model: Model, catalogue: TorchCatalogue, overrides: Overrides) -> Iterator[Setting]:
    """Those to try, in turn: free GPUs before the CPU, few before many."""
    goal = _goal(overrides, catalogue)
    for device in _devices(machine, overrides):
        dtype, why = _dtype(device, model, overrides, catalogue)
        precision = _precision(overrides, catalogue) or dtype
        if precision == "int4" and not device.computes_int4():
            continue
        place = catalogue.places[device.place]
        sizes = degrees(device, model.architecture, overrides, precision in _QUANTISED)
        for profile in catalogue.profiles:
            if profile.goal == goal and profile.precision == precision:
                yield from (Setting(profile, place, device, model, ranks, dtype, why) for ranks in sizes)


def _devices(machine: Machine, overrides: Overrides) -> Sequence[Device]:
    """Ranks that are asked for are meant for the GPUs, where there are any."""
    found = devices(machine)
    several = overrides.tensor_parallel is not None and overrides.tensor_parallel.value > 1
    return [one for one in found if one.gpus] or found if several else found


def _goal(overrides: Overrides, catalogue: TorchCatalogue) -> str:
    for profile in catalogue.profiles:
        if overrides.profile and profile.name == overrides.profile.value:
            return profile.goal
    return overrides.goal.value if overrides.goal else DEFAULT_GOAL


def _precision(overrides: Overrides, catalogue: TorchCatalogue) -> str:
    """What the user asked for, by precision or profile; empty for none."""
    for profile in catalogue.profiles:
        if overrides.profile and profile.name == overrides.profile.value:
            return profile.precision
    return overrides.precision.value if overrides.precision else ""


def _dtype(device: Device, model: Model, overrides: Overrides, catalogue: TorchCatalogue) -> tuple[str, str]:
    given = _precision(overrides, catalogue)
    dtype, why = computed_dtype(device, model)
    if given and given not in _QUANTISED:
        lacking = device.computes_bf16() if given == "bf16" and device.gpus else ""
        if lacking:
            raise DoesNotFitError("precision bf16 cannot be had", why=lacking, remedy="possible: f16, f32")
        dtype, why = given, ""
    override = overrides.kv_precision
    if override is not None and override.value != dtype:
        raise UsageError(
            f"{asked(override, 'kv-precision')} {override.value} cannot be had",
            why=f"transformers keeps its cache in what it computes in, here {dtype}",
            remedy="leave it out",
        )
    return dtype, why


def _no_profile(overrides: Overrides, catalogue: TorchCatalogue) -> StokerError:
    if _precision(overrides, catalogue) == "int4":
        why = "torchao's int4 kernel needs an NVIDIA GPU of compute capability 8.0 or more"
        return DoesNotFitError("precision int4 cannot be had with PyTorch here", why=why, remedy="use --precision int8")
    offered = ", ".join(dict.fromkeys(profile.precision for profile in catalogue.profiles))
    return UsageError("the torch kind has no such precision", remedy=f"possible: {offered}")


def _too_large(settings: Sequence[Setting], overrides: Overrides) -> DoesNotFitError:
    best = min(settings, key=lambda one: least_needed(one, overrides) - one.limit)
    needed, limit = size_text(least_needed(best, overrides)), size_text(best.limit)
    where = f"{best.ranks} x {best.device.name}" if best.ranks > 1 else best.device.name
    return DoesNotFitError(
        f"{best.model.served_name} does not fit {where} as {best.profile.name}",
        why=f"even one sequence of {best.limits.min_seq_len} tokens takes {needed}, and the limit is {limit}",
        remedy="use --precision int8, fewer tokens (--max-seq-len), or a smaller model",
    )


def _plan(
    machine: Machine,
    setting: Setting,
    found: TorchFit,
    overrides: Overrides,
    longest: int,
    why: str,
    rejected: Sequence[Rejection],
) -> Plan:
    chosen = Chosen(
        profile=setting.profile.name,
        engine=KIND,
        purpose=TEXT,
        precision=setting.profile.precision,
        kv_precision=setting.dtype,
        activation_precision=setting.dtype,
        tensor_parallel=setting.ranks,
        pipeline_parallel=1,
        devices=tuple(gpu.index for gpu in setting.device.taken(setting.ranks)),
        max_batch_size=found.batch,
        max_num_tokens=found.tokens,
        max_seq_len=found.context,
        threads=machine.cpu.cores,
        group_size=setting.profile.group_size,
    )
    reasons = reasons_for(chosen, setting, found, overrides, longest, why)
    return Plan(machine, setting.model, chosen, found.budget, tuple(rejected), reasons, sources_for(chosen, overrides))
