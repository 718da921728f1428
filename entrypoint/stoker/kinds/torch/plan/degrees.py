"""Tensor parallel sizes: over how many devices transformers' own plan for a family can spread a model's layers."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.errors import DoesNotFitError, StokerError, UsageError
from stoker.kinds.torch.plan.device import Device
from stoker.plan.overrides import asked
from stoker.plan.types import Overrides
from stoker.resolve.model import Architecture

_SIZES = (1, 2, 4, 8, 16)


def why_not(architecture: Architecture, ranks: int) -> str:
    """What of the model this many ranks do not divide; empty where they may share it."""
    if architecture.heads % ranks:
        return f"{ranks} does not divide {architecture.heads} attention heads"
    if architecture.kv_heads % ranks:
        return f"{ranks} does not divide {architecture.kv_heads} KV heads, and transformers' paged cache repeats none"
    return ""


def degrees(device: Device, architecture: Architecture, overrides: Overrides, quantised: bool) -> tuple[int, ...]:
    """In the order to try, the fewest first: what fits one GPU stays on one. On a CPU only what is asked for."""
    if override := overrides.tensor_parallel:
        return (override.value,) if override.value <= device.widest else ()
    if quantised or not device.gpus:
        return (1,)
    return tuple(size for size in _SIZES if size <= device.widest and not why_not(architecture, size))


def check_degree(architecture: Architecture, overrides: Overrides, quantised: bool) -> None:
    """Raises UsageError for an override that the model's shape, or its precision, does not allow on any machine."""
    override = overrides.tensor_parallel
    if override is None or override.value == 1:
        return
    why = why_not(architecture, override.value)
    if quantised:
        why = "weights that torchao quantises while they are loaded are not divided over ranks"
    if why:
        possible = [str(size) for size in _SIZES if not why_not(architecture, size)] if not quantised else ["1"]
        what = f"{asked(override, 'tensor-parallel')} {override.value} cannot be had"
        raise UsageError(what, why=why, remedy=f"possible: {', '.join(possible)}")


def too_few_devices(overrides: Overrides, devices: Sequence[Device]) -> StokerError | None:
    """The error for more ranks than any of these devices has room for; None where that is not the trouble."""
    override = overrides.tensor_parallel
    widest = max(device.widest for device in devices)
    if override is None or override.value <= widest:
        return None
    of_what = "free GPUs of one kind, that reach each other," if devices[0].gpus else "cores, one for each rank,"
    return DoesNotFitError(
        f"{asked(override, 'tensor-parallel')} {override.value} cannot be had",
        why=f"{widest} {of_what} are here" if widest > 1 else f"one of the {of_what} is here",
        remedy=f"use {widest} or less",
    )
