"""What planning asks of PyTorch: any device, any architecture of transformers, nothing compiled; the last choice."""

from __future__ import annotations

from functools import cache, partial

from stoker.errors import DoesNotFitError, UnsupportedModelError, UsageError
from stoker.installing import with_extra
from stoker.kinds.torch.plan.catalogue import KIND, TorchCatalogue, TorchProfile, load_torch
from stoker.kinds.torch.plan.device import computed_dtype, computes_int4, lacks_bf16
from stoker.kinds.torch.plan.memory import Load, budget
from stoker.kinds.torch.plan.reasons import reasons_for
from stoker.plan.archives import archive_error
from stoker.plan.devices import CPU, Place, Split
from stoker.plan.fit import batch_last
from stoker.plan.formulas import WIDTH, adapter_bytes, cache_needed
from stoker.plan.kind import Candidate, Obstacle, Package, PlanKind, Question
from stoker.plan.profile import Profile
from stoker.plan.selection import CACHE
from stoker.plan.sources import MACHINE, MODEL
from stoker.plan.speculation import never
from stoker.plan.tuning import limits_to_try
from stoker.probe.machine import AMD, NVIDIA, Gpu
from stoker.resolve.model import Architecture, Model


def torch(catalogue: TorchCatalogue) -> PlanKind:
    return PlanKind(
        name=KIND,
        order=90,
        last_choice=True,
        devices=(CPU, NVIDIA, AMD),
        elsewhere="",
        package=Package("PyTorch", with_extra("torch")),
        profiles=catalogue.profiles,
        architectures=(),
        unknown=unknown,
        checkpoint=checkpoint,
        against=against,
        no_adapters=lambda _profile, _question: "",
        why_not_split=why_not_split,
        spreads_for_latency=lambda _profile, _question, _split: False,
        candidate=partial(candidate, catalogue),
        retries_build=False,
        speculates=never("Stoker's PyTorch engine guesses no tokens"),
        spans_machines=False,
        tunable=limits_to_try,
    )


@cache
def planning() -> PlanKind:
    """With the profiles of this installation."""
    return torch(load_torch())


def unknown(model: Model) -> UnsupportedModelError | None:
    """Which architectures transformers has, only its import would tell: of Hugging Face's format, any may be there."""
    return archive_error(model)


def checkpoint(model: Model) -> str:
    return model.quantization.method if model.quantization else "plain"


def against(profile: Profile, question: Question, place: Place) -> Obstacle | None:
    assert isinstance(profile, TorchProfile)
    if quantization := question.model.quantization:
        why = f"the checkpoint is quantised already ({quantization.method})"
        why += ", which needs packages that Stoker does not bring"
        return Obstacle("checkpoint", why, UnsupportedModelError, by_override=False)
    if profile.precision == "int4" and not computes_int4(place):
        why = "torchao's int4 kernel needs an NVIDIA GPU of compute capability 8.0 or more"
        return Obstacle("kernel", why, DoesNotFitError, by_override=False, remedy="use --precision int8")
    dtype, _ = _dtype(profile, question, place)
    if not profile.quantised and profile.precision != dtype:
        why = f"{dtype} is what the checkpoint is in, or this device computes in; taken when asked for"
        return Obstacle("dtype", f"{why} (--precision {profile.precision})", UsageError, by_override=True)
    lacking = lacks_bf16(place) if dtype == "bf16" and place.gpus else ""
    if lacking:
        return Obstacle("kernel", lacking, DoesNotFitError, by_override=False, remedy="possible: f16, f32")
    cache = question.overrides.kv_precision
    if cache is not None and cache.value != dtype:
        why = f"transformers keeps its cache in what it computes in, here {dtype}"
        return Obstacle(CACHE, why, UsageError, by_override=True, remedy="leave it out")
    return None


def _dtype(profile: TorchProfile, question: Question, place: Place) -> tuple[str, str]:
    """What is computed in, and why it is not the checkpoint's own, if it is not."""
    overrides = question.overrides
    if (overrides.precision or overrides.profile) and not profile.quantised:
        return profile.precision, ""
    return computed_dtype(place, question.model)


def why_not_split(profile: Profile, question: Question, _: Place, split: Split) -> str:
    assert isinstance(profile, TorchProfile)
    if split.tensor > 1 and question.overrides.max_loras:
        return "adapters are not divided over ranks"
    if split.pipeline > 1:
        return "the torch kind has no pipeline parallelism"
    if split.tensor > 1 and profile.quantised:
        return "weights that torchao quantises while they are loaded are not divided over ranks"
    return _undivided(question.model.architecture, split.tensor)


def _undivided(architecture: Architecture, ranks: int) -> str:
    """What of the model this many ranks do not divide; empty where they may share it."""
    if architecture.heads % ranks:
        return f"{ranks} does not divide {architecture.heads} attention heads"
    if architecture.kv_heads % ranks:
        return f"{ranks} does not divide {architecture.kv_heads} KV heads, and transformers' paged cache repeats none"
    return ""


def candidate(
    catalogue: TorchCatalogue,
    profile: Profile,
    question: Question,
    place: Place,
    split: Split,
    devices: tuple[Gpu, ...],
) -> Candidate:
    assert isinstance(profile, TorchProfile)
    dtype, why = _dtype(profile, question, place)
    adapters = adapter_bytes(question.model.architecture, question.overrides, WIDTH[dtype])
    constants = catalogue.places["gpu" if place.pool else "cpu"]
    goal = constants.goals[profile.goal]
    free = min(gpu.memory_free for gpu in devices) if devices else place.cpu_memory
    limit = int(free * constants.available_fraction) // (1 if devices else split.tensor)
    from_model = f"{MODEL}, {MACHINE}"
    return Candidate(
        profile=profile,
        place=place,
        split=split,
        devices=devices,
        kv_precision=dtype,
        activation_precision=dtype,
        group_size=profile.group_size,
        limits=goal.limits,
        shrink=batch_last,
        budget=lambda shape: budget(
            question.model, profile, constants, Load(shape, split.tensor, dtype), limit, adapters
        ),
        cache_needed=partial(cache_needed, goal.limits),
        cache_share=constants.kv_fraction,
        whole_prompts=False,
        unproven="",
        sources={
            **dict.fromkeys(("precision", "kv_precision", "activation_precision"), from_model),
            "group_size": f"profile {profile.name}",
        },
        reasons=partial(reasons_for, why),
    )
