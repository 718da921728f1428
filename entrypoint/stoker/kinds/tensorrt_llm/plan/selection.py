"""Which GPU profiles come into question in a pool, and what stands against the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stoker.errors import DoesNotFitError, StokerError, UnsupportedModelError, UsageError
from stoker.kinds.tensorrt_llm.plan.catalogue import Catalogue, GpuProfile, Support, Verdict
from stoker.kinds.tensorrt_llm.plan.checkpoint import activation_dtype, acts_in_order, checkpoint_kind
from stoker.kinds.tensorrt_llm.plan.devices import Pool
from stoker.kinds.tensorrt_llm.plan.rules import CHECKPOINT_KINDS
from stoker.plan.overrides import asked
from stoker.plan.profile import ON_REQUEST
from stoker.plan.types import Overrides
from stoker.resolve.model import Model


@dataclass(frozen=True)
class Question:
    pool: Pool
    model: Model
    overrides: Overrides
    goal: str
    catalogue: Catalogue


@dataclass(frozen=True)
class Obstacle:
    """`by_override`: only what the user asked for stands against it."""

    reason: str
    error: type[StokerError] = DoesNotFitError
    by_override: bool = False


@dataclass(frozen=True)
class Judged:
    """`unproven` says in which of the vendor's tables the profile is missing."""

    profile: GpuProfile
    obstacle: Obstacle | None
    unproven: str = ""


def judge(question: Question) -> tuple[Judged, ...]:
    """Every profile, those without an obstacle by order; unproven ones after the others of their kind."""
    judged = [_judged(profile, question) for profile in question.catalogue.profiles]
    return tuple(sorted(judged, key=lambda one: (one.profile.kind.order, bool(one.unproven), one.profile.order)))


def _judged(profile: GpuProfile, question: Question) -> Judged:
    obstacle = next(filter(None, (rule(profile, question) for rule in _RULES)), None)
    return Judged(profile, obstacle, "" if obstacle else _unproven(profile, question))


def verdicts(profile: GpuProfile, question: Question) -> tuple[tuple[str, Verdict], ...]:
    """What the GPU and the model's family say of the profile's kind, each with the words for who says so."""
    kind, architecture = profile.kind.name, question.model.architecture.name
    major, minor = question.pool.capability
    gpu: Verdict = f"compute capability {major}.{minor} is in no table of {profile.kind.image.release}"
    family: Verdict = f"is not among the models of {profile.kind.image.release}"
    by_gpu = question.catalogue.capabilities.get(question.pool.capability, {}).get(kind, gpu)
    by_family = question.catalogue.models.get(architecture, {}).get(kind, family)
    return (f"{question.pool.name} (compute capability {major}.{minor})", by_gpu), (architecture, by_family)


def _gpu_or_family_rules_out(profile: GpuProfile, question: Question) -> Obstacle | None:
    (gpu, by_gpu), (family, by_family) = verdicts(profile, question)
    if isinstance(by_gpu, str):
        return Obstacle(f"{gpu}: {by_gpu}")
    if isinstance(by_family, str):
        return Obstacle(f"{family} {by_family}", UnsupportedModelError)
    if profile.precision in by_gpu.refused:
        return Obstacle(f"{gpu}: {profile.precision} {by_gpu.refused[profile.precision]}")
    if not _known(profile.precision, by_gpu):
        return Obstacle(f"{gpu}: {profile.precision} is in no table of {profile.kind.image.release}")
    if not _known(profile.precision, by_family):
        return Obstacle(f"{family} has no {profile.precision} in {profile.kind.name}", UnsupportedModelError)
    return None


def _known(precision: str, support: Support) -> bool:
    return precision in support.listed or precision in support.unproven


def _unproven(profile: GpuProfile, question: Question) -> str:
    found = [
        who
        for who, verdict in verdicts(profile, question)
        if isinstance(verdict, Support) and profile.precision in verdict.unproven
    ]
    return " and ".join(found)


def _checkpoint_does_not_suit(profile: GpuProfile, question: Question) -> Obstacle | None:
    kind = checkpoint_kind(question.model.quantization)
    if kind not in CHECKPOINT_KINDS:
        reason = f"the checkpoint is quantised as {kind}, which {profile.kind.image.release} does not read"
        return Obstacle(reason, UnsupportedModelError)
    if kind not in profile.checkpoints:
        return _wrong_checkpoint(kind, profile)
    return _converter_does_not_read(kind, question) if profile.kind.name == "tensorrt_llm" else None


def _converter_does_not_read(kind: str, question: Question) -> Obstacle | None:
    architecture = question.model.architecture.name
    converter = question.catalogue.converters.get(architecture)
    if converter is None or kind not in converter.reads:
        reason = f"TensorRT-LLM's converter for {architecture} does not read {kind.upper()} checkpoints"
        return Obstacle(reason, UnsupportedModelError)
    if kind == "gptq" and not acts_in_order(question.model.quantization):
        return Obstacle("its converter raises ValueError for GPTQ with desc_act", UnsupportedModelError)
    return None


def _wrong_checkpoint(kind: str, profile: GpuProfile) -> Obstacle:
    if kind == "plain":
        return Obstacle(f"needs a checkpoint that is already {' or '.join(profile.checkpoints)}", UsageError)
    return Obstacle(f"the checkpoint is {kind} already, and {profile.name} is not made from that", UsageError)


def _sixteen_bits_differ(profile: GpuProfile, question: Question) -> Obstacle | None:
    own = activation_dtype(question.model)
    overrides = question.overrides
    if profile.bits != 16 or profile.precision == own or overrides.precision or overrides.profile:
        return None
    return Obstacle(
        f"the checkpoint is {own}; taken only when asked for (--precision {profile.precision})", by_override=True
    )


def _cache_cannot_be_had(profile: GpuProfile, question: Question) -> Obstacle | None:
    override = question.overrides.kv_precision
    if override is None:
        return None
    by_gpu = verdicts(profile, question)[0][1]
    allowed = by_gpu.kv if isinstance(by_gpu, Support) else ()
    offered = [kv for kv in profile.kv_offered if kv in allowed and _cache_can_be_made(kv, profile, question)]
    if override.value in offered:
        return None
    possible = ", ".join(offered)
    reason = f"has no {override.value} cache on {question.pool.name}; possible: {possible}"
    return Obstacle(reason, UsageError, by_override=True)


def _cache_can_be_made(kv: str, profile: GpuProfile, question: Question) -> bool:
    """An 8-bit cache needs scales: quantize.py measures them, of unquantised checkpoints of Hugging Face's only."""
    if kv not in ("fp8", "int8") or profile.kind.name != "tensorrt_llm":
        return True
    converter = question.catalogue.converters.get(question.model.architecture.name)
    if checkpoint_kind(question.model.quantization) == "plain":
        return converter is None or converter.source == "--model_dir"
    return kv == "fp8" and converter is not None and converter.fp8_cache is not None


def _asked_for_another(profile: GpuProfile, question: Question) -> Obstacle | None:
    for name, override, own in (
        ("profile", question.overrides.profile, profile.name),
        ("precision", question.overrides.precision, profile.precision),
    ):
        if override is not None and override.value != own:
            return Obstacle(f"{asked(override, name)} asks for {override.value}", UsageError, by_override=True)
    return None


def _goal_differs(profile: GpuProfile, question: Question) -> Obstacle | None:
    if profile.goal == question.goal:
        return None
    return Obstacle(f"is for {profile.goal}, and the goal is {question.goal}", UsageError, by_override=True)


def _must_be_asked_for(profile: GpuProfile, question: Question) -> Obstacle | None:
    when = profile.checkpoints.get(checkpoint_kind(question.model.quantization))
    if when != ON_REQUEST or question.overrides.precision or question.overrides.profile:
        return None
    return Obstacle(f"is taken only when asked for (--precision {profile.precision})", UsageError, by_override=True)


_RULES: tuple[Callable[[GpuProfile, Question], Obstacle | None], ...] = (
    _gpu_or_family_rules_out,
    _checkpoint_does_not_suit,
    _asked_for_another,
    _goal_differs,
    _sixteen_bits_differ,
    _must_be_asked_for,
    _cache_cannot_be_had,
)


def nothing_left(judged: Iterable[Judged], question: Question) -> StokerError:
    """The error of what stands against the profiles that the overrides point at."""
    every = tuple(judged)
    facts = [one for one in every if one.obstacle and not one.obstacle.by_override]
    kind = checkpoint_kind(question.model.quantization)
    wanted = [one for one in facts if _wanted(one.profile, question)]
    wanted.sort(key=lambda one: kind not in one.profile.checkpoints)
    first = next(iter(wanted or facts), every[0])
    assert first.obstacle is not None
    possible = sorted({one.profile.precision for one in every if one.obstacle is None or one.obstacle.by_override})
    remedy = f"possible here: {', '.join(possible)}" if possible else "no GPU profile suits this model on this machine"
    what = f"{question.model.served_name} cannot be served from {question.pool.name}"
    if question.overrides.kv_precision and possible:
        cache = next((one.obstacle for one in every if one.obstacle and "cache on" in one.obstacle.reason), None)
        first_obstacle = cache or first.obstacle
        return first_obstacle.error(what, why=first_obstacle.reason)
    return first.obstacle.error(what, why=first.obstacle.reason, remedy=remedy)


def _wanted(profile: GpuProfile, question: Question) -> bool:
    precision, name = question.overrides.precision, question.overrides.profile
    if name is not None:
        return profile.name == name.value
    return profile.goal == question.goal and (precision is None or profile.precision == precision.value)
