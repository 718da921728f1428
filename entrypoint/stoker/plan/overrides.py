"""Checks what the user asked for before anything is weighed: names, numbers and contradictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Protocol

from stoker.errors import DoesNotFitError, UsageError
from stoker.nearest import did_you_mean
from stoker.origin import Origin, Sourced
from stoker.plan.profile import GOALS, KV_PRECISIONS, PRECISIONS, Profile
from stoker.plan.types import Overrides
from stoker.probe.machine import Machine
from stoker.settings.layers import Settings

DEFAULT_GOAL = "throughput"


class Offer(Protocol):
    """What profiles for CPUs and GPUs have in common."""

    @property
    def name(self) -> str: ...

    @property
    def precision(self) -> str: ...

    @property
    def goal(self) -> str: ...


def overrides_of(settings: Settings) -> Overrides:
    """What the planner must respect: only what the user set."""
    names = [field.name for field in fields(Overrides)]
    return Overrides(**{name: settings[name] for name in names if settings.is_given(name)})


def check_overrides(overrides: Overrides, profiles: Sequence[Profile], machine: Machine) -> None:
    """Raises UsageError, or DoesNotFitError for parallelism that the machine has no devices for."""
    _check_name(overrides.profile, "profile", (profile.name for profile in profiles))
    check_names(overrides)
    check_numbers(overrides)
    _check_parallel(overrides, machine)
    if profile := asked_profile(overrides, profiles):
        check_agreement(profile, overrides, profiles)


def check_names(overrides: Overrides) -> None:
    """Raises UsageError for a goal or a precision that nothing here knows."""
    _check_name(overrides.goal, "goal", GOALS)
    _check_name(overrides.precision, "precision", PRECISIONS)
    _check_name(overrides.kv_precision, "kv-precision", KV_PRECISIONS)


def check_numbers(overrides: Overrides) -> None:
    """Raises UsageError for numbers below 1, and for more sequences than tokens in a step."""
    for name, override in _numbers(overrides):
        if override is not None and override.value < 1:
            raise UsageError(f"{asked(override, name)}: {override.value} is not a number of at least 1")
    _check_steps(overrides)


def asked(override: Sourced[str] | Sourced[int], name: str) -> str:
    """How to name an override in a message: by where it was said, or by its flag."""
    return override.detail or f"--{name}"


def asked_profile(overrides: Overrides, profiles: Sequence[Profile]) -> Profile | None:
    if overrides.profile is None:
        return None
    name = overrides.profile.value
    return next(profile for profile in profiles if profile.name == name)


def asked_goal(overrides: Overrides, profiles: Sequence[Profile]) -> str:
    if profile := asked_profile(overrides, profiles):
        return profile.goal
    return overrides.goal.value if overrides.goal else DEFAULT_GOAL


def _numbers(overrides: Overrides) -> tuple[tuple[str, Sourced[int] | None], ...]:
    return (
        ("max-seq-len", overrides.max_seq_len),
        ("max-batch-size", overrides.max_batch_size),
        ("max-num-tokens", overrides.max_num_tokens),
        ("tensor-parallel", overrides.tensor_parallel),
        ("pipeline-parallel", overrides.pipeline_parallel),
    )


def _check_name(override: Sourced[str] | None, name: str, known: Iterable[str]) -> None:
    names = tuple(known)
    if override is not None and override.value not in names:
        what = f"{asked(override, name)}: unknown {name} {override.value!r}"
        raise UsageError(what, remedy=did_you_mean(override.value, names))


def _check_parallel(overrides: Overrides, machine: Machine) -> None:
    for name, override in (
        ("tensor-parallel", overrides.tensor_parallel),
        ("pipeline-parallel", overrides.pipeline_parallel),
    ):
        if override is not None and override.value > 1:
            spread = f"it spreads a model over {override.value} GPUs"
            why = f"{spread}, and this version's engines run on the CPU as one process"
            found = f"; {len(machine.gpus)} GPUs are here" if machine.gpus else ""
            raise DoesNotFitError(
                f"{asked(override, name)} {override.value} cannot be had", why=why + found, remedy="use 1"
            )


def _check_steps(overrides: Overrides) -> None:
    batch, tokens = overrides.max_batch_size, overrides.max_num_tokens
    if batch and tokens and batch.value > tokens.value:
        raise UsageError(
            f"{asked(batch, 'max-batch-size')} {batch.value} and {asked(tokens, 'max-num-tokens')} {tokens.value} "
            "contradict each other",
            why="each running sequence takes one token of every step",
            remedy=f"ask for at least {batch.value} tokens a step",
        )


def check_agreement(profile: Offer, overrides: Overrides, profiles: Sequence[Offer]) -> None:
    """Raises UsageError where the given profile has another precision or goal than is given beside it."""
    for name, override, own in (
        ("precision", overrides.precision, profile.precision),
        ("goal", overrides.goal, profile.goal),
    ):
        if override is not None and override.origin is not Origin.DEFAULT and override.value != own:
            raise UsageError(
                f"--profile {profile.name} and {asked(override, name)} {override.value} contradict each other",
                why=f"the profile's {name} is {own}",
                remedy=_way_out(profile, name, override.value, profiles),
            )


def _way_out(profile: Offer, name: str, value: str, profiles: Sequence[Offer]) -> str:
    keep = "goal" if name == "precision" else "precision"
    for other in profiles:
        if getattr(other, name) == value and getattr(other, keep) == getattr(profile, keep):
            return f"leave one of them out, or take --profile {other.name}"
    return "leave one of them out"
