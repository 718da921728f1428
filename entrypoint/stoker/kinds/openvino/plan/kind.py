"""What planning asks of OpenVINO: models on x86-64 and Arm processors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

from stoker.errors import DamagedModelError, DoesNotFitError, ModelError, UnsupportedModelError
from stoker.installing import with_extra
from stoker.kinds.openvino.build.families import ENCODERS, POOLED, SUPPORTED, check_config
from stoker.kinds.openvino.build.families.eagle3 import describe_head
from stoker.kinds.openvino.plan import memory
from stoker.kinds.openvino.plan.catalogue import load_catalogue
from stoker.kinds.openvino.plan.compute import Compute, attention_cannot_be_paged, compute_for, kernels
from stoker.kinds.openvino.plan.profile import CALIBRATED, CHECKPOINTS, OpenvinoProfile
from stoker.kinds.openvino.plan.reasons import reasons_for
from stoker.kinds.openvino.plan.rules import NAME
from stoker.kinds.openvino.speculation import most_rows
from stoker.kinds.openvino.speculation import why_not as why_no_speculation
from stoker.plan.archives import archive_error
from stoker.plan.devices import CPU, Place, Split
from stoker.plan.fit import context_last
from stoker.plan.formulas import adapter_bytes, group_size, group_size_source
from stoker.plan.kind import Candidate, Obstacle, Package, PlanKind, Question, Shape
from stoker.plan.profile import Profile
from stoker.plan.purpose import pools
from stoker.plan.sources import PLANNER
from stoker.plan.speculation import EAGLE3, OFF, WITH_MODEL, Speculates, method_of
from stoker.plan.tuning import limits_to_try
from stoker.plan.types import Chosen, KvPool, MemoryBudget, Overrides
from stoker.probe.machine import Cpu, Gpu
from stoker.resolve.model import Model

_FOUR_BITS = 4


def openvino(profiles: Sequence[OpenvinoProfile]) -> PlanKind:
    return PlanKind(
        name=NAME,
        order=10,
        last_choice=False,
        devices=(CPU,),
        elsewhere="OpenVINO serves from the CPU",
        package=Package("OpenVINO", with_extra("cpu")),
        profiles=tuple(profiles),
        architectures=(*sorted(SUPPORTED), *sorted(ENCODERS)),
        unknown=unknown,
        checkpoint=checkpoint,
        against=against,
        no_adapters=no_adapters,
        why_not_split=why_not_split,
        spreads_for_latency=lambda _profile, _question, _split: False,
        candidate=candidate,
        retries_build=False,
        speculates=SPECULATES,
        spans_machines=False,
        tunable=tunable,
    )


@cache
def planning() -> PlanKind:
    """With the profiles of this installation."""
    return openvino(load_catalogue())


def unknown(model: Model) -> UnsupportedModelError | None:
    """Of a damaged model the builder says so itself."""
    if archive := archive_error(model):
        return archive
    name = model.architecture.name
    if model.pooling is not None and name not in POOLED:
        why = f"an embedding model of the architecture {name} is not supported"
        return UnsupportedModelError("this embedding model cannot be served", why=why, remedy="use another model")
    try:
        check_config(model.config)
    except UnsupportedModelError as error:
        return UnsupportedModelError(error.what, why=error.why)  # what is supported, planning says of all kinds
    except ModelError:
        pass
    return None


def checkpoint(model: Model) -> str:
    """One of CHECKPOINTS, or the words for something that is not read."""
    quantization = model.quantization
    if quantization is None:
        return "plain"
    if quantization.bits == _FOUR_BITS and quantization.method in CHECKPOINTS:
        return quantization.method
    return f"{quantization.method} {quantization.bits}-bit" if quantization.bits else quantization.method


def against(profile: Profile, question: Question, place: Place) -> Obstacle | None:
    assert isinstance(profile, OpenvinoProfile)
    isa, requires = set(place.cpu.isa), profile.requires
    if requires.isa_any and not isa.intersection(requires.isa_any):
        return _wrong_processor(f"needs a processor with one of {', '.join(requires.isa_any)}")
    if wrong := isa.intersection(requires.isa_none):
        return _wrong_processor(f"is not for processors with {', '.join(sorted(wrong))}")
    found = compute_for(profile, place.cpu, question.model, question.overrides)
    return found if isinstance(found, Obstacle) else None


def no_adapters(profile: Profile, question: Question) -> str:
    if question.model.pooling is not None:
        return "it gives no text"
    if attention_cannot_be_paged(question.model):
        return "its soft-capped attention cannot be paged"
    if question.draft is not None:
        return "its draft model would not know them"
    if profile.precision in CALIBRATED and question.model.quantization is None:
        return f"{profile.precision} moves scales between layers, which adapters would have to follow"
    return ""


def _wrong_processor(reason: str) -> Obstacle:
    return Obstacle("processor", reason, DoesNotFitError, by_override=False)


def tunable(profile: Profile, chosen: Chosen, cpu: Cpu) -> Mapping[str, Sequence[str | int]]:
    """All of it is given to the engine when it starts."""
    assert isinstance(profile, OpenvinoProfile)
    computed = kernels(profile, cpu, chosen.kv_precision)
    return {"activation_precision": computed, **limits_to_try(profile, chosen, cpu)}


def why_not_split(_profile: Profile, _question: Question, _place: Place, split: Split) -> str:
    if split.gpus == 1:
        return ""
    return f"it spreads a model over {split.gpus} GPUs, and this version's engines run on the CPU as one process"


def why_not(method: str, question: Question) -> str:
    model = question.model
    if question.overrides.max_loras:
        return "OpenVINO's engines take either LoRA adapters or guesses"
    if reason := why_no_speculation(method, dense=attention_cannot_be_paged(model), pooling=pools(model)):
        return reason
    return _why_not_head(question) if method == EAGLE3 else ""


def _why_not_head(question: Question) -> str:
    """Of a head that was made for the model; empty where the builder knows it."""
    if question.draft is None:
        return ""
    model, config = question.model, question.draft.config
    try:
        describe_head(config, model.architecture.layers, question.longest)
    except (DamagedModelError, UnsupportedModelError) as error:
        return f"{error.what}: {error.why}" if error.why else error.what
    return ""


def pays(_goal: str) -> str:
    """Nothing was measured to gain (docs/speculative.md)."""
    return OFF


SPECULATES = Speculates(why_not, pays)


@dataclass(frozen=True)
class Setting:
    """A profile on one machine for one model, and what guesses its tokens."""

    profile: OpenvinoProfile
    model: Model
    cpu: Cpu
    compute: Compute
    overrides: Overrides
    method: str = OFF
    draft: Model | None = None

    @property
    def group_size(self) -> int:
        return group_size(self.profile, self.model)


def candidate(profile: Profile, question: Question, place: Place, split: Split, devices: tuple[Gpu, ...]) -> Candidate:
    assert isinstance(profile, OpenvinoProfile)
    compute = compute_for(profile, place.cpu, question.model, question.overrides)
    assert isinstance(compute, Compute)
    method = method_of(SPECULATES, question)
    setting = Setting(profile, question.model, place.cpu, compute, question.overrides, method, question.draft)
    own = f"profile {profile.name}"
    return Candidate(
        profile=profile,
        place=place,
        split=split,
        devices=devices,
        kv_precision=compute.kv_precision,
        activation_precision=compute.activation_precision,
        group_size=setting.group_size,
        limits=profile.limits.at(place.cpu.cores, compute.dense),
        shrink=context_last,
        budget=partial(budget, setting),
        cache_needed=lambda shape: 0 if pools(setting.model) else _demand(setting, shape).least,
        cache_share=1.0,  # what is needed may take all that is left
        whole_prompts=False,
        unproven="",
        sources={
            "precision": own,
            "kv_precision": PLANNER if compute.dense else own,
            "activation_precision": compute.source,
            "group_size": group_size_source(profile, question.model),
        },
        reasons=partial(reasons_for, compute),
    )


def budget(setting: Setting, shape: Shape) -> MemoryBudget:
    profile, architecture, compute = setting.profile, setting.model.architecture, setting.compute
    whole = pools(setting.model)  # a text is encoded whole, however long
    rows = most_rows(setting.method, shape.batch) + (shape.context if setting.method in WITH_MODEL else 0)
    step = max(shape.tokens, shape.context if whole else rows)
    precision, cores = compute.activation_precision, setting.cpu.cores
    load = memory.Load(shape.batch, step, shape.context, cores, precision, compute.dense)
    fixed = MemoryBudget(
        weights=memory.weight_bytes(architecture, setting.model.weights, profile.precision, setting.group_size),
        activations=memory.activation_bytes(architecture, load, profile.memory),
        runtime=memory.runtime_bytes(architecture, profile.memory),
        kv=KvPool(0, profile.memory.kv_block_tokens, 0),
        adapters=adapter_bytes(architecture, setting.overrides, memory.ADAPTER_WIDTH),
        limit=int(min(setting.cpu.memory_available, setting.cpu.memory_limit) * profile.memory.available_fraction),
    )
    if setting.draft is not None and setting.method == EAGLE3:
        fixed = memory.with_head(fixed, architecture, setting.draft, profile, load)
    elif setting.draft is not None:
        fixed = memory.with_draft(fixed, setting.draft, profile, load)
    if whole:
        return fixed
    demand = _demand(setting, shape)
    if setting.method != OFF:
        rows = most_rows(setting.method, shape.batch) - shape.batch
        spare = shape.batch * demand.block_tokens * demand.bytes_per_token
        fixed = memory.with_guesses(fixed, architecture, rows, spare)
    return memory.with_cache(fixed, demand)


def _demand(setting: Setting, shape: Shape) -> memory.CacheDemand:
    profile, architecture, compute = setting.profile, setting.model.architecture, setting.compute
    limits, cores, constants = profile.limits, setting.cpu.cores, profile.memory
    batch, context = shape.batch, shape.context
    if compute.dense:
        tokens, per_token = batch * context, memory.dense_kv_bytes_per_token(architecture, compute.kv_precision)
        return memory.CacheDemand(tokens, tokens, per_token, constants.kv_block_tokens, constants.kv_fraction)
    least = max(context, batch * min(context, limits.min_tokens_per_sequence.at(cores)))
    wanted = max(context, batch * min(context, limits.tokens_per_sequence.at(cores)))
    per_token = memory.kv_bytes_per_token(architecture, compute.kv_precision, by_token=setting.method != OFF)
    if setting.draft is not None:
        per_token += memory.kv_bytes_per_token(setting.draft.architecture, compute.kv_precision, by_token=True)
    return memory.CacheDemand(least, wanted, per_token, constants.kv_block_tokens, constants.kv_fraction)
