"""What planning asks of TensorRT-LLM's two kinds: compiled engines, and its PyTorch backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial

from stoker.errors import UnsupportedModelError
from stoker.kinds.tensorrt_llm.plan.adapters import no_adapters
from stoker.kinds.tensorrt_llm.plan.catalogue import COMPILED, Catalogue, GpuProfile, Kind, Verdict, load_nvidia
from stoker.kinds.tensorrt_llm.plan.checkpoint import activation_dtype, checkpoint_cache, checkpoint_kind
from stoker.kinds.tensorrt_llm.plan.memory import KV_WIDTH, budget
from stoker.kinds.tensorrt_llm.plan.reasons import reasons_for
from stoker.kinds.tensorrt_llm.plan.selection import Judge, family_verdict
from stoker.kinds.tensorrt_llm.plan.spread import no_stages, why_not, worth_it
from stoker.plan.devices import Place, Split
from stoker.plan.fit import together
from stoker.plan.formulas import adapter_bytes, cache_needed, group_size, group_size_source
from stoker.plan.kind import Candidate, Obstacle, Package, PlanKind, Question, Shape
from stoker.plan.profile import Profile
from stoker.plan.sources import MODEL
from stoker.plan.speculation import never
from stoker.plan.tuning import nothing_to_try
from stoker.plan.types import MemoryBudget
from stoker.probe.machine import NVIDIA, Gpu
from stoker.resolve.model import Model


@cache
def planning() -> PlanKind:
    """With the profiles of this installation."""
    return tensorrt_llm(load_nvidia(), COMPILED)


def tensorrt_llm(catalogue: Catalogue, name: str) -> PlanKind:
    kind = catalogue.kinds[name]
    planner = _Planner(catalogue, kind)
    return PlanKind(
        name=name,
        order=kind.order,
        last_choice=False,
        devices=(NVIDIA,),
        elsewhere="TensorRT-LLM is NVIDIA's",
        package=Package(kind.image.release, "the NVIDIA image has it"),
        profiles=tuple(one for one in catalogue.profiles if one.engine == name),
        architectures=tuple(sorted(one for one, found in catalogue.models.items() if not isinstance(found[name], str))),
        unknown=planner.unknown,
        checkpoint=lambda model: checkpoint_kind(model.quantization),
        against=planner.against,
        no_adapters=no_adapters,
        why_not_split=planner.why_not_split,
        spreads_for_latency=planner.spreads_for_latency,
        candidate=planner.candidate,
        retries_build=True,
        speculates=never("Stoker builds its engines without it"),
        spans_machines=False,
        tunable=nothing_to_try,
    )


@dataclass(frozen=True)
class _Planner:
    catalogue: Catalogue
    kind: Kind

    def unknown(self, model: Model) -> UnsupportedModelError | None:
        architecture = model.architecture.name
        verdict: Verdict = family_verdict(self.catalogue, self.kind.name, self.kind.image.release, architecture)
        if not isinstance(verdict, str):
            return None
        return UnsupportedModelError(f"{architecture} {verdict}")

    def against(self, profile: Profile, question: Question, place: Place) -> Obstacle | None:
        assert isinstance(profile, GpuProfile)
        assert place.pool is not None
        return Judge(self.catalogue, question, place.pool).against(profile)

    def why_not_split(self, profile: Profile, question: Question, _: Place, split: Split) -> str:
        assert isinstance(profile, GpuProfile)
        converter = self.catalogue.converters.get(question.model.architecture.name)
        return why_not(question.model.architecture, profile, split) or no_stages(profile, converter, split)

    def spreads_for_latency(self, profile: Profile, question: Question, split: Split) -> bool:
        assert isinstance(profile, GpuProfile)
        return worth_it(question.model, profile, split)

    def candidate(
        self, profile: Profile, question: Question, place: Place, split: Split, devices: tuple[Gpu, ...]
    ) -> Candidate:
        assert isinstance(profile, GpuProfile)
        assert place.pool is not None
        kv_precision = _cache(profile, question)
        paged = (kv_precision, profile.precision) not in profile.kind.without_paging
        limits, model = profile.goal_limits.limits, question.model
        adapters = adapter_bytes(model.architecture, question.overrides, KV_WIDTH[_activation_dtype(profile, model)])

        def budget_of(shape: Shape) -> MemoryBudget:
            return budget(model, profile, kv_precision, shape, split, _limit(profile, devices), adapters)

        return Candidate(
            profile=profile,
            place=place,
            split=split,
            devices=devices,
            kv_precision=kv_precision,
            activation_precision=_activation_dtype(profile, model),
            group_size=group_size(profile, model),
            limits=limits,
            shrink=together,
            budget=budget_of,
            cache_needed=partial(cache_needed, limits),
            cache_share=profile.kind.memory.kv_fraction,
            whole_prompts=not paged,
            unproven=Judge(self.catalogue, question, place.pool).unproven(profile),
            sources=_sources(profile, model),
            reasons=partial(reasons_for, profile, paged),
        )


def _cache(profile: GpuProfile, question: Question) -> str:
    if question.overrides.kv_precision:
        return question.overrides.kv_precision.value
    own = checkpoint_cache(question.model.quantization)
    if own and own in profile.kv_precisions:
        return own
    return _activation_dtype(profile, question.model) if profile.kv == "activation" else profile.kv


def _activation_dtype(profile: GpuProfile, model: Model) -> str:
    return profile.precision if profile.bits == 16 else activation_dtype(model)


def _limit(profile: GpuProfile, devices: tuple[Gpu, ...]) -> int:
    """What is free on the fullest of the GPUs; of unified memory the system keeps a part."""
    free = min(gpu.memory_free for gpu in devices)
    return int(free * (profile.kind.memory.unified_fraction if devices[0].unified_memory else 1.0))


def _sources(profile: GpuProfile, model: Model) -> Mapping[str, str]:
    own = f"profile {profile.name}"
    return {
        "precision": MODEL if model.quantization else own,
        "kv_precision": f"{own}, {MODEL}",
        "activation_precision": MODEL,
        "group_size": group_size_source(profile, model),
    }
