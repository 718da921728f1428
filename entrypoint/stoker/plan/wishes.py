"""Checks what the user asked for before anything is weighed: names, numbers and contradictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from stoker.errors import DoesNotFitError, UsageError
from stoker.nearest import did_you_mean
from stoker.origin import Origin, Sourced
from stoker.plan.profile import GOALS, KV_PRECISIONS, PRECISIONS, Profile
from stoker.plan.types import Wishes
from stoker.probe.machine import Machine

DEFAULT_GOAL = "throughput"


class Offer(Protocol):
    """What profiles for CPUs and GPUs have in common."""

    @property
    def name(self) -> str: ...

    @property
    def precision(self) -> str: ...

    @property
    def goal(self) -> str: ...


def check_wishes(wishes: Wishes, profiles: Sequence[Profile], machine: Machine) -> None:
    """Raises UsageError, or DoesNotFitError for parallelism that the machine has no devices for."""
    _check_name(wishes.profile, "profile", (profile.name for profile in profiles))
    check_names(wishes)
    check_numbers(wishes)
    _check_parallel(wishes, machine)
    if profile := wished_profile(wishes, profiles):
        check_agreement(profile, wishes, profiles)


def check_names(wishes: Wishes) -> None:
    """Raises UsageError for a goal or a precision that nothing here knows."""
    _check_name(wishes.goal, "goal", GOALS)
    _check_name(wishes.precision, "precision", PRECISIONS)
    _check_name(wishes.kv_precision, "kv-precision", KV_PRECISIONS)


def check_numbers(wishes: Wishes) -> None:
    """Raises UsageError for numbers below 1, and for more sequences than tokens in a step."""
    for name, wish in _numbers(wishes):
        if wish is not None and wish.value < 1:
            raise UsageError(f"{asked(wish, name)}: {wish.value} is not a number of at least 1")
    _check_steps(wishes)


def asked(wish: Sourced[str] | Sourced[int], name: str) -> str:
    """How to name a wish in a message: by where it was said, or by its flag."""
    return wish.detail or f"--{name}"


def wished_profile(wishes: Wishes, profiles: Sequence[Profile]) -> Profile | None:
    if wishes.profile is None:
        return None
    name = wishes.profile.value
    return next(profile for profile in profiles if profile.name == name)


def wished_goal(wishes: Wishes, profiles: Sequence[Profile]) -> str:
    if profile := wished_profile(wishes, profiles):
        return profile.goal
    return wishes.goal.value if wishes.goal else DEFAULT_GOAL


def _numbers(wishes: Wishes) -> tuple[tuple[str, Sourced[int] | None], ...]:
    return (
        ("max-seq-len", wishes.max_seq_len),
        ("max-batch-size", wishes.max_batch_size),
        ("max-num-tokens", wishes.max_num_tokens),
        ("tensor-parallel", wishes.tensor_parallel),
        ("pipeline-parallel", wishes.pipeline_parallel),
    )


def _check_name(wish: Sourced[str] | None, name: str, known: Iterable[str]) -> None:
    names = tuple(known)
    if wish is not None and wish.value not in names:
        what = f"{asked(wish, name)}: unknown {name} {wish.value!r}"
        raise UsageError(what, remedy=did_you_mean(wish.value, names))


def _check_parallel(wishes: Wishes, machine: Machine) -> None:
    for name, wish in (("tensor-parallel", wishes.tensor_parallel), ("pipeline-parallel", wishes.pipeline_parallel)):
        if wish is not None and wish.value > 1:
            why = f"it spreads a model over {wish.value} GPUs, and this version's engines run on the CPU as one process"
            found = f"; {len(machine.gpus)} GPUs are here" if machine.gpus else ""
            raise DoesNotFitError(f"{asked(wish, name)} {wish.value} cannot be had", why=why + found, remedy="use 1")


def _check_steps(wishes: Wishes) -> None:
    batch, tokens = wishes.max_batch_size, wishes.max_num_tokens
    if batch and tokens and batch.value > tokens.value:
        raise UsageError(
            f"{asked(batch, 'max-batch-size')} {batch.value} and {asked(tokens, 'max-num-tokens')} {tokens.value} "
            "contradict each other",
            why="each running sequence takes one token of every step",
            remedy=f"ask for at least {batch.value} tokens a step",
        )


def check_agreement(profile: Offer, wishes: Wishes, profiles: Sequence[Offer]) -> None:
    """Raises UsageError where the wished profile has another precision or goal than is wished beside it."""
    for name, wish, own in (
        ("precision", wishes.precision, profile.precision),
        ("goal", wishes.goal, profile.goal),
    ):
        if wish is not None and wish.origin is not Origin.DEFAULT and wish.value != own:
            raise UsageError(
                f"--profile {profile.name} and {asked(wish, name)} {wish.value} contradict each other",
                why=f"the profile's {name} is {own}",
                remedy=_way_out(profile, name, wish.value, profiles),
            )


def _way_out(profile: Offer, name: str, value: str, profiles: Sequence[Offer]) -> str:
    keep = "goal" if name == "precision" else "precision"
    for other in profiles:
        if getattr(other, name) == value and getattr(other, keep) == getattr(profile, keep):
            return f"leave one of them out, or take --profile {other.name}"
    return "leave one of them out"
