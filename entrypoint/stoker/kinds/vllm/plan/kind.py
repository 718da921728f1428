"""What planning asks of vLLM: NVIDIA GPUs of compute capability 7.5 and up, no compiler but torch.compile's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial

from stoker.errors import DoesNotFitError, UnsupportedModelError, UsageError
from stoker.kinds.vllm.plan.catalogue import KIND, NO_CACHE, Catalogue, Goal, VllmProfile, load_vllm
from stoker.kinds.vllm.plan.checkpoint import checkpoint_of
from stoker.kinds.vllm.plan.memory import budget, weight_bytes, with_draft, with_further_layers
from stoker.kinds.vllm.plan.reasons import reasons_for
from stoker.kinds.vllm.speculation import heads_of, why_not
from stoker.plan.archives import archive_error
from stoker.plan.devices import Place, Split
from stoker.plan.fit import together
from stoker.plan.formulas import WIDTH, adapter_bytes, cache_needed, group_size, group_size_source
from stoker.plan.kind import Candidate, Obstacle, Package, PlanKind, Question, Shape
from stoker.plan.profile import Profile
from stoker.plan.purpose import pools, purpose_of
from stoker.plan.selection import CACHE
from stoker.plan.sources import MODEL
from stoker.plan.speculation import MTP, OFF, Speculates, method_of
from stoker.plan.tuning import limits_to_try
from stoker.plan.types import RERANK, MemoryBudget
from stoker.probe.machine import NVIDIA, Gpu
from stoker.resolve.model import Architecture, Model
from stoker.resolve.weights import checkpoint_dtype

_ENCODERS = ("BertModel", "RobertaModel", "XLMRobertaModel", "ModernBertModel")
INSTALL = "install vllm in an environment of its own and set STOKER_VLLM_PYTHON to its Python"


@cache
def planning() -> PlanKind:
    """With the profiles of this installation."""
    return vllm(load_vllm())


def vllm(catalogue: Catalogue) -> PlanKind:
    planner = _Planner(catalogue)
    return PlanKind(
        name=KIND,
        order=catalogue.order,
        last_choice=False,
        devices=(NVIDIA,),
        elsewhere="vLLM serves from NVIDIA GPUs",
        package=Package(catalogue.release, INSTALL),
        profiles=catalogue.profiles,
        architectures=(),  # too many to name in an error
        unknown=planner.unknown,
        checkpoint=checkpoint_of,
        against=planner.against,
        no_adapters=lambda _profile, question: "it gives no text" if question.model.pooling else "",
        why_not_split=planner.why_not_split,
        spreads_for_latency=planner.spreads_for_latency,
        candidate=planner.candidate,
        retries_build=True,
        speculates=SPECULATES,
        spans_machines=True,
        tunable=limits_to_try,
    )


@dataclass(frozen=True)
class _Planner:
    catalogue: Catalogue

    def unknown(self, model: Model) -> UnsupportedModelError | None:
        architecture = model.architecture.name
        if architecture in self.catalogue.architectures[purpose_of(model)]:
            return None
        return archive_error(model) or UnsupportedModelError(
            f"{architecture} is not among the models of {self.catalogue.release}"
        )

    def against(self, profile: Profile, question: Question, place: Place) -> Obstacle | None:
        assert isinstance(profile, VllmProfile)
        assert place.pool is not None
        own, model = place.pool.capability, question.model
        if own < profile.capability:
            return Obstacle(
                "capability", _too_old(profile.precision, profile.capability, place), DoesNotFitError, False
            )
        if not model.quantization and profile.precision == "f16" and _dtype(model, own) == "bf16":
            why = "the checkpoint is in bf16, whose range f16 does not have; taken when asked for (--precision f16)"
            return _unless_asked(Obstacle("dtype", why, DoesNotFitError, True), question, profile)
        return self._cache_refused(profile, question, place)

    def _cache_refused(self, profile: VllmProfile, question: Question, place: Place) -> Obstacle | None:
        """A cache type that the user set: 16 bits are those of the activations."""
        override = question.overrides.kv_precision
        if override is None:
            return None
        assert place.pool is not None
        offered = [_activation(profile, question.model, place.pool.capability)]
        if _has_no_cache(question.model):
            offered = [NO_CACHE]
        elif place.pool.capability >= self.catalogue.kv_fp8_capability:
            offered.append("fp8")
        if override.value in offered:
            return None
        why = f"has no {override.value} KV cache on {place.name}; possible: {', '.join(offered)}"
        return Obstacle(CACHE, why, UsageError, True)

    def why_not_split(self, profile: Profile, question: Question, _: Place, split: Split) -> str:
        assert isinstance(profile, VllmProfile)
        architecture = question.model.architecture
        return _undivided(architecture, profile, split) if split.gpus > 1 else ""

    def spreads_for_latency(self, profile: Profile, question: Question, split: Split) -> bool:
        """Whether each GPU keeps enough to read for its part to shorten a step."""
        assert isinstance(profile, VllmProfile)
        return weight_bytes(question.model, profile, split) >= self._goal(profile).min_weight_bytes_per_gpu

    def _goal(self, profile: VllmProfile) -> Goal:
        return self.catalogue.goals[profile.goal]

    def candidate(
        self, profile: Profile, question: Question, place: Place, split: Split, devices: tuple[Gpu, ...]
    ) -> Candidate:
        assert isinstance(profile, VllmProfile)
        assert place.pool is not None
        model, limits, own = question.model, self._goal(profile).limits, f"profile {profile.name}"
        dtype = _activation(profile, model, place.pool.capability)
        kv_precision = _cache_type(question, dtype)
        limit, constants = self._limit(devices), self.catalogue.constants
        adapters = adapter_bytes(model.architecture, question.overrides, WIDTH["bf16"])
        method = method_of(SPECULATES, question)

        def needed(shape: Shape) -> int:
            if kv_precision == NO_CACHE:
                return 0
            return cache_needed(limits, shape)

        def budget_of(shape: Shape) -> MemoryBudget:
            own = budget(model, profile, kv_precision, shape, split, limit, constants, adapters)
            if method == MTP:
                return with_further_layers(own, model.architecture, heads_of(model.config), split)
            return with_draft(own, question.draft, kv_precision, split) if question.draft else own

        return Candidate(
            profile=profile,
            place=place,
            split=split,
            devices=devices,
            kv_precision=kv_precision,
            activation_precision=dtype,
            group_size=group_size(profile, model),
            limits=limits,
            shrink=together,
            budget=budget_of,
            cache_needed=needed,
            cache_share=1.0,
            whole_prompts=kv_precision == NO_CACHE,
            unproven="",
            sources={
                "precision": MODEL if model.quantization else own,
                "kv_precision": f"{own}, {MODEL}",
                "activation_precision": MODEL,
                "group_size": group_size_source(profile, model),
            },
            reasons=partial(reasons_for, self.catalogue, profile),
        )

    def _limit(self, devices: tuple[Gpu, ...]) -> int:
        """Of what is free on the fullest of the GPUs; of unified memory the system keeps a part."""
        constants = self.catalogue.constants
        share = constants.unified_fraction if devices[0].unified_memory else constants.available_fraction
        return int(min(gpu.memory_free for gpu in devices) * share)


def _why_not(method: str, question: Question) -> str:
    return why_not(method, question.model.config, pooling=pools(question.model))


def _pays(_goal: str) -> str:
    """Nothing was measured to gain on a GPU (docs/speculative.md)."""
    return OFF


SPECULATES = Speculates(_why_not, _pays)


def _too_old(what: str, least: tuple[int, int], place: Place) -> str:
    assert place.pool is not None
    major, minor = place.pool.capability
    return f"{place.name} has compute capability {major}.{minor}, and {what} needs {least[0]}.{least[1]}"


def _unless_asked(obstacle: Obstacle, question: Question, profile: VllmProfile) -> Obstacle | None:
    overrides = question.overrides
    asked = overrides.precision or overrides.profile
    return None if asked and asked.value in (profile.precision, profile.name) else obstacle


def _activation(profile: VllmProfile, model: Model, capability: tuple[int, int]) -> str:
    return profile.precision if profile.bits == 16 else _dtype(model, capability)


def _dtype(model: Model, capability: tuple[int, int]) -> str:
    """f16 for float16 checkpoints and GPUs without bf16, else bf16, whose range is that of float32."""
    return "f16" if checkpoint_dtype(model.config) == "F16" or capability < (8, 0) else "bf16"


def _cache_type(question: Question, dtype: str) -> str:
    if _has_no_cache(question.model):
        return NO_CACHE
    override = question.overrides.kv_precision
    return override.value if override else dtype


def _has_no_cache(model: Model) -> bool:
    """Encoders read a text at once."""
    return model.architecture.name in _ENCODERS or purpose_of(model) == RERANK


def _undivided(architecture: Architecture, profile: VllmProfile, split: Split) -> str:
    """What of the model these sizes do not divide; empty where they are possible."""
    heads, kv_heads, tensor = architecture.heads, architecture.kv_heads, split.tensor
    if heads % tensor:
        return f"{tensor} does not divide {heads} attention heads"
    if kv_heads % tensor and tensor % kv_heads:
        return f"{kv_heads} KV heads can be neither divided nor repeated over {tensor} GPUs"
    width = architecture.expert_intermediate_size if architecture.experts else architecture.intermediate_size
    if width % tensor or (profile.group_size and (width // tensor) % profile.group_size):
        groups = f" in groups of {profile.group_size}" if profile.group_size else ""
        return f"{tensor} does not divide the feed-forward width {width}{groups}"
    if split.pipeline > architecture.layers:
        return f"there are only {architecture.layers} layers for {split.pipeline} pipeline groups"
    return ""
