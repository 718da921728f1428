"""What stands against a profile of TensorRT-LLM: the GPU, the model's family, its checkpoint, the host, the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stoker.errors import DoesNotFitError, StokerError, UnsupportedModelError, UsageError
from stoker.kinds.tensorrt_llm.plan.catalogue import Catalogue, GpuProfile, Support, Verdict
from stoker.kinds.tensorrt_llm.plan.checkpoint import activation_dtype, acts_in_order, checkpoint_kind
from stoker.kinds.tensorrt_llm.plan.host import too_little_memory
from stoker.plan.devices import Pool
from stoker.plan.kind import Obstacle, Question
from stoker.plan.selection import CACHE


@dataclass(frozen=True)
class Judge:
    """What a profile is held against."""

    catalogue: Catalogue
    question: Question
    pool: Pool

    def against(self, profile: GpuProfile) -> Obstacle | None:
        return next(filter(None, (rule(self, profile) for rule in _RULES)), None)

    def unproven(self, profile: GpuProfile) -> str:
        """In which of the vendor's tables the profile is missing."""
        found = [
            who
            for who, verdict in self.verdicts(profile)
            if isinstance(verdict, Support) and profile.precision in verdict.unproven
        ]
        return " and ".join(found)

    def verdicts(self, profile: GpuProfile) -> tuple[tuple[str, Verdict], ...]:
        """What the GPU and the model's family say of the profile's kind, each with the words for who says so."""
        kind, architecture = profile.kind.name, self.question.model.architecture.name
        major, minor = self.pool.capability
        gpu: Verdict = f"compute capability {major}.{minor} is in no table of {profile.kind.image.release}"
        by_gpu = self.catalogue.capabilities.get(self.pool.capability, {}).get(kind, gpu)
        by_family = family_verdict(self.catalogue, profile.kind.name, profile.kind.image.release, architecture)
        return (f"{self.pool.name} (compute capability {major}.{minor})", by_gpu), (architecture, by_family)


def family_verdict(catalogue: Catalogue, kind: str, release: str, architecture: str) -> Verdict:
    return catalogue.models.get(architecture, {}).get(kind, f"is not among the models of {release}")


def _fact(reason: str, error: type[StokerError]) -> Obstacle:
    return Obstacle("facts", reason, error, by_override=False)


def _gpu_or_family_rules_out(judge: Judge, profile: GpuProfile) -> Obstacle | None:
    (gpu, by_gpu), (family, by_family) = judge.verdicts(profile)
    if isinstance(by_gpu, str):
        return _fact(f"{gpu}: {by_gpu}", DoesNotFitError)
    if isinstance(by_family, str):
        return _fact(f"{family} {by_family}", UnsupportedModelError)
    if profile.precision in by_gpu.refused:
        return _fact(f"{gpu}: {profile.precision} {by_gpu.refused[profile.precision]}", DoesNotFitError)
    if not _known(profile.precision, by_gpu):
        return _fact(f"{gpu}: {profile.precision} is in no table of {profile.kind.image.release}", DoesNotFitError)
    if not _known(profile.precision, by_family):
        return _fact(f"{family} has no {profile.precision} in {profile.kind.name}", UnsupportedModelError)
    return None


def _known(precision: str, support: Support) -> bool:
    return precision in support.listed or precision in support.unproven


def _converter_does_not_read(judge: Judge, profile: GpuProfile) -> Obstacle | None:
    model = judge.question.model
    checkpoint, architecture = checkpoint_kind(model.quantization), model.architecture.name
    if not profile.kind.compiled or checkpoint not in profile.checkpoints:
        return None
    converter = judge.catalogue.converters.get(architecture)
    if converter is None or checkpoint not in converter.reads:
        reason = f"TensorRT-LLM's converter for {architecture} does not read {checkpoint.upper()} checkpoints"
        return _fact(reason, UnsupportedModelError)
    if checkpoint == "gptq" and not acts_in_order(model.quantization):
        return _fact("its converter raises ValueError for GPTQ with desc_act", UnsupportedModelError)
    return None


def _host_is_small(judge: Judge, profile: GpuProfile) -> Obstacle | None:
    if checkpoint_kind(judge.question.model.quantization) not in profile.checkpoints:
        return None
    reason = too_little_memory(profile.kind, judge.question.machine, judge.question.model)
    return _fact(reason, DoesNotFitError) if reason else None


def _sixteen_bits_differ(judge: Judge, profile: GpuProfile) -> Obstacle | None:
    own, overrides = activation_dtype(judge.question.model), judge.question.overrides
    if profile.bits != 16 or profile.precision == own or overrides.precision or overrides.profile:
        return None
    reason = f"the checkpoint is {own}; taken only when asked for (--precision {profile.precision})"
    return Obstacle("dtype", reason, DoesNotFitError, by_override=True)


def _cache_cannot_be_had(judge: Judge, profile: GpuProfile) -> Obstacle | None:
    override = judge.question.overrides.kv_precision
    if override is None:
        return None
    by_gpu = judge.verdicts(profile)[0][1]
    allowed = by_gpu.kv if isinstance(by_gpu, Support) else ()
    offered = [kv for kv in profile.kv_precisions if kv in allowed and _cache_can_be_made(judge, kv, profile)]
    if override.value in offered:
        return None
    reason = f"has no {override.value} cache on {judge.pool.name}; possible: {', '.join(offered)}"
    return Obstacle(CACHE, reason, UsageError, by_override=True)


def _cache_can_be_made(judge: Judge, kv: str, profile: GpuProfile) -> bool:
    """An 8-bit cache needs scales: quantize.py measures them, of unquantised checkpoints of Hugging Face's only."""
    if kv not in ("fp8", "int8") or not profile.kind.compiled:
        return True
    model = judge.question.model
    converter = judge.catalogue.converters.get(model.architecture.name)
    if checkpoint_kind(model.quantization) == "plain":
        return converter is None or converter.source == "--model_dir"
    return kv == "fp8" and converter is not None and converter.fp8_cache is not None


_RULES: tuple[Callable[[Judge, GpuProfile], Obstacle | None], ...] = (
    _gpu_or_family_rules_out,
    _converter_does_not_read,
    _host_is_small,
    _sixteen_bits_differ,
    _cache_cannot_be_had,
)
