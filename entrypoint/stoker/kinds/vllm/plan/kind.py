"""What planning asks of vLLM. It is taken when it is asked for, by engine or profile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial

from stoker.errors import DoesNotFitError, UnsupportedModelError, UsageError
from stoker.kinds.vllm.plan.catalogue import KIND, VllmCatalogue, VllmProfile, load_vllm
from stoker.kinds.vllm.plan.memory import Load, budget
from stoker.kinds.vllm.plan.reasons import reasons_for
from stoker.plan.archives import archive_error
from stoker.plan.devices import Place, Split
from stoker.plan.fit import together
from stoker.plan.formulas import cache_needed, group_size, group_size_source
from stoker.plan.kind import Candidate, Obstacle, Package, PlanKind, Question
from stoker.plan.profile import Profile
from stoker.plan.selection import CACHE
from stoker.plan.sources import MODEL
from stoker.probe.machine import NVIDIA, Gpu
from stoker.resolve.model import Model
from stoker.resolve.weights import checkpoint_dtype

_PLAIN = ("bf16", "f16")
_BF16_CAPABILITY, _FP8_CAPABILITY = (8, 0), (8, 9)


@cache
def planning() -> PlanKind:
    """With the profiles of this installation."""
    return vllm(load_vllm())


def vllm(catalogue: VllmCatalogue) -> PlanKind:
    return PlanKind(
        name=KIND,
        order=3,
        last_choice=False,
        devices=(NVIDIA,),
        elsewhere="vLLM serves from NVIDIA's GPUs",
        package=Package("vLLM", "install vllm in an environment of its own and set STOKER_VLLM_PYTHON to its Python"),
        profiles=catalogue.profiles,
        architectures=(),
        unknown=unknown,
        checkpoint=checkpoint,
        against=against,
        why_not_split=why_not_split,
        spreads_for_latency=lambda _profile, _question, split: split.pipeline == 1,
        candidate=partial(candidate, catalogue),
        retries_build=False,
    )


def unknown(model: Model) -> UnsupportedModelError | None:
    """Which architectures an installed vLLM has, only itself would tell: of Hugging Face's format, any may be there."""
    return archive_error(model)


def checkpoint(model: Model) -> str:
    quantization = model.quantization
    if quantization is None:
        return "plain"
    method, settings = quantization.method, quantization.settings
    if method == "fp8":
        return "fp8_block" if settings.get("weight_block_size") else "fp8"
    if method == "modelopt":
        return "modelopt_nvfp4" if quantization.bits == 4 else "modelopt_fp8"
    return f"compressed_{quantization.bits}" if method == "compressed-tensors" else method


def against(profile: Profile, question: Question, place: Place) -> Obstacle | None:
    assert isinstance(profile, VllmProfile)
    assert place.pool is not None
    overrides, capability = question.overrides, place.pool.capability
    if capability < profile.capability:
        least = ".".join(map(str, profile.capability))
        why = f"{profile.precision} needs compute capability {least} or more, and {place.name} has less"
        return Obstacle("capability", why, DoesNotFitError, by_override=False)
    if not overrides.engine and not overrides.profile:
        return Obstacle("on_request", "is taken only when asked for (--engine vllm)", UsageError, by_override=True)
    dtype = _dtype(profile, question, place)
    if profile.precision in _PLAIN and profile.precision != dtype:
        why = f"{dtype} is what the checkpoint is in, or this GPU computes in (--precision {profile.precision})"
        return Obstacle("dtype", why, UsageError, by_override=True)
    cache_type = overrides.kv_precision
    offered = (dtype, "fp8") if capability >= _FP8_CAPABILITY else (dtype,)
    if cache_type is not None and cache_type.value not in offered:
        why = f"has no {cache_type.value} cache on {place.name}; possible: {', '.join(offered)}"
        return Obstacle(CACHE, why, UsageError, by_override=True)
    return None


def _dtype(profile: VllmProfile, question: Question, place: Place) -> str:
    """What is computed in."""
    assert place.pool is not None
    overrides = question.overrides
    if profile.precision in _PLAIN and (overrides.precision or overrides.profile):
        return profile.precision
    own = "f16" if checkpoint_dtype(question.model.config) == "F16" else "bf16"
    return own if place.pool.capability >= _BF16_CAPABILITY else "f16"


def why_not_split(_profile: Profile, question: Question, _place: Place, split: Split) -> str:
    """vLLM divides heads over ranks, or repeats KV heads."""
    architecture, tensor = question.model.architecture, split.tensor
    if architecture.heads % tensor:
        return f"{tensor} does not divide {architecture.heads} attention heads"
    if architecture.kv_heads % tensor and tensor % architecture.kv_heads:
        return f"{architecture.kv_heads} KV heads can be neither divided nor repeated over {tensor} GPUs"
    if split.pipeline > architecture.layers:
        return f"there are only {architecture.layers} layers for {split.pipeline} pipeline groups"
    return ""


@dataclass(frozen=True)
class _Types:
    computed: str
    cache: str


def candidate(
    catalogue: VllmCatalogue, profile: Profile, question: Question, place: Place, split: Split, devices: tuple[Gpu, ...]
) -> Candidate:
    assert isinstance(profile, VllmProfile)
    model, own = question.model, f"profile {profile.name}"
    kv = question.overrides.kv_precision
    types = _Types(_dtype(profile, question, place), kv.value if kv else _dtype(profile, question, place))
    limits, memory = catalogue.limits[profile.goal], catalogue.memory
    limit = int(min(gpu.memory_free for gpu in devices) * memory.available_fraction)
    return Candidate(
        profile=profile,
        place=place,
        split=split,
        devices=devices,
        kv_precision=types.cache,
        activation_precision=types.computed,
        group_size=group_size(profile, model),
        limits=limits,
        shrink=together,
        budget=lambda shape: budget(model, profile, memory, Load(shape, split, types.cache, limit)),
        cache_needed=partial(cache_needed, limits),
        cache_share=1.0,
        whole_prompts=False,
        unproven="",
        sources={
            "precision": MODEL if model.quantization else own,
            "kv_precision": MODEL,
            "activation_precision": MODEL,
            "group_size": group_size_source(profile, model),
        },
        reasons=reasons_for,
    )
