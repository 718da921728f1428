"""Checks what the user set before anything is weighed: names, numbers and contradictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

from stoker.errors import UsageError
from stoker.nearest import did_you_mean
from stoker.origin import Origin, Sourced
from stoker.plan.devices import CPU
from stoker.plan.kind import PlanKind
from stoker.plan.profile import GOALS, Profile
from stoker.plan.purpose import purpose_of
from stoker.plan.types import TEXT, Overrides
from stoker.resolve.model import Model
from stoker.settings.adapters import DEFAULT_ADAPTERS, DEFAULT_RANK
from stoker.settings.layers import Settings
from stoker.settings.spec import ACTIVATION_PRECISIONS, KV_PRECISIONS, PRECISIONS

DEFAULT_GOAL = "throughput"


def overrides_of(settings: Settings) -> Overrides:
    """What the planner must respect: only what the user set, and did not leave to the planner."""
    names = [field.name for field in fields(Overrides)]
    said = [name for name in names if settings.is_given(name) and settings[name].value is not None]
    given = {name: settings[name] for name in said}
    if settings["nodes"].value == 1:
        given.pop("nodes", None)
    return Overrides(**{**_adapters(settings), **given})


def _adapters(settings: Settings) -> dict[str, Sourced[int]]:
    """How many adapters there may be, and how large, where they are named but their limits are not."""
    named = [settings[name] for name in ("lora", "lora-source") if settings.is_given(name)]
    if not named and not settings.is_given("max-loras"):
        return {}
    rank = Sourced(DEFAULT_RANK, Origin.DEFAULT)
    if not named:
        return {"max_lora_rank": rank}
    count = len(settings["lora"].value or ())
    count = max(count, DEFAULT_ADAPTERS) if settings.is_given("lora-source") else count
    return {"max_loras": Sourced(count, named[0].origin, named[0].detail), "max_lora_rank": rank}


def check_overrides(overrides: Overrides, kinds: Sequence[PlanKind], model: Model) -> None:
    """Raises UsageError. `kinds` are all, with all their profiles."""
    _check_name(overrides.engine, "engine", (kind.name for kind in kinds))
    profiles = [profile for kind in kinds for profile in kind.profiles]
    _check_purpose(overrides, profiles, model)
    _check_name(overrides.profile, "profile", (profile.name for profile in profiles))
    check_names(overrides)
    check_numbers(overrides)
    for profile in profiles:
        if overrides.profile and profile.name == overrides.profile.value:
            check_agreement(profile, overrides, profiles)


def _check_purpose(overrides: Overrides, profiles: Sequence[Profile], model: Model) -> None:
    """UsageError where the profile or engine is for another purpose than the model."""
    purpose = purpose_of(model)
    own = [one for one in profiles if purpose in one.purposes]
    for name, override, names, others in (
        ("profile", overrides.profile, {one.name for one in own}, {one.name for one in profiles}),
        ("engine", overrides.engine, {one.engine for one in own}, {one.engine for one in profiles}),
    ):
        if override is None or override.value in names or (purpose == TEXT and override.value not in others):
            continue
        why = f"{model.served_name} gives {'text' if purpose == TEXT else 'no text'}"
        remedy = f"use one of {', '.join(sorted(names))}"
        raise UsageError(f"{asked(override, name)} {override.value} is not available", why=why, remedy=remedy)


def goal_of(overrides: Overrides, kinds: Sequence[PlanKind]) -> str:
    for profile in (one for kind in kinds for one in kind.profiles):
        if overrides.profile and profile.name == overrides.profile.value:
            return profile.goal
    return overrides.goal.value if overrides.goal else DEFAULT_GOAL


def is_asked_for(kind: PlanKind, overrides: Overrides) -> bool:
    """By its name, or one of its profiles, or not ruled out by either."""
    engine, profile = overrides.engine, overrides.profile
    if engine is not None and kind.name != engine.value:
        return False
    return profile is None or any(one.name == profile.value for one in kind.profiles)


def offers(kind: PlanKind, overrides: Overrides) -> dict[str, bool]:
    """For each name that the user set, its value and whether the kind has it."""
    profiles = kind.profiles
    known = (
        (overrides.engine, {kind.name}),
        (overrides.profile, {one.name for one in profiles}),
        (overrides.precision, {one.precision for one in profiles}),
        (overrides.kv_precision, {kv for one in profiles for kv in one.kv_precisions}),
    )
    return {override.value: override.value in names for override, names in known if override is not None}


def only_on_the_cpu(kinds: Sequence[PlanKind], overrides: Overrides) -> str:
    """The override that, kinds of last choice aside, only kinds without GPUs know; empty without one."""
    known = [(kind, offers(kind, overrides)) for kind in kinds if not kind.last_choice]
    for value in next(iter(known), (None, {}))[1]:
        offering = [kind for kind, own in known if own[value]]
        if offering and all(set(kind.devices) == {CPU} for kind in offering):
            return value
    return ""


def check_names(overrides: Overrides) -> None:
    """Raises UsageError for a goal or a precision that nothing here knows."""
    _check_name(overrides.goal, "goal", GOALS)
    _check_name(overrides.precision, "precision", PRECISIONS)
    _check_name(overrides.kv_precision, "kv-precision", KV_PRECISIONS)
    _check_name(overrides.activation_precision, "activation-precision", ACTIVATION_PRECISIONS)


def check_numbers(overrides: Overrides) -> None:
    """Raises UsageError for numbers below 1, and for more sequences than tokens in a step."""
    for name, override in _numbers(overrides):
        if override is not None and override.value < 1:
            raise UsageError(f"{asked(override, name)}: {override.value} is not a number of at least 1")
    _check_steps(overrides)


def asked(override: Sourced[str] | Sourced[int], name: str) -> str:
    """How to name an override in a message: by where it was said, or by its flag."""
    return override.detail or f"--{name}"


def _numbers(overrides: Overrides) -> tuple[tuple[str, Sourced[int] | None], ...]:
    return (
        ("max-seq-len", overrides.max_seq_len),
        ("max-batch-size", overrides.max_batch_size),
        ("max-num-tokens", overrides.max_num_tokens),
        ("tensor-parallel", overrides.tensor_parallel),
        ("pipeline-parallel", overrides.pipeline_parallel),
        ("replicas", overrides.replicas),
        ("max-loras", overrides.max_loras),
        ("max-lora-rank", overrides.max_lora_rank),
    )


def _check_name(override: Sourced[str] | None, name: str, known: Iterable[str]) -> None:
    names = tuple(known)
    if override is not None and override.value not in names:
        what = f"{asked(override, name)}: unknown {name} {override.value!r}"
        raise UsageError(what, remedy=did_you_mean(override.value, names))


def _check_steps(overrides: Overrides) -> None:
    batch, tokens = overrides.max_batch_size, overrides.max_num_tokens
    if batch and tokens and batch.value > tokens.value:
        raise UsageError(
            f"{asked(batch, 'max-batch-size')} {batch.value} and {asked(tokens, 'max-num-tokens')} {tokens.value} "
            "contradict each other",
            why="each running sequence takes one token of every step",
            remedy=f"ask for at least {batch.value} tokens per step",
        )


def check_agreement(profile: Profile, overrides: Overrides, profiles: Sequence[Profile]) -> None:
    """Raises UsageError where the given profile has another engine, precision or goal than is set beside it."""
    for name, override, own in (
        ("engine", overrides.engine, profile.engine),
        ("precision", overrides.precision, profile.precision),
        ("goal", overrides.goal, profile.goal),
    ):
        if override is not None and override.origin is not Origin.DEFAULT and override.value != own:
            raise UsageError(
                f"--profile {profile.name} and {asked(override, name)} {override.value} contradict each other",
                why=f"the profile's {name} is {own}",
                remedy=_way_out(profile, name, override.value, profiles),
            )


def _way_out(profile: Profile, name: str, value: str, profiles: Sequence[Profile]) -> str:
    keep = "goal" if name == "precision" else "precision"
    for other in profiles:
        if name != "engine" and other.engine != profile.engine:
            continue
        if getattr(other, name) == value and getattr(other, keep) == getattr(profile, keep):
            return f"leave one of them out, or take --profile {other.name}"
    return "leave one of them out"
