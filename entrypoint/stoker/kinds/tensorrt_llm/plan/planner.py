"""The plan for NVIDIA GPUs: a pure function, like that for a CPU, of machine, model, catalogue and overrides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from stoker.errors import DoesNotFitError, StokerError, UsageError
from stoker.kinds.tensorrt_llm.plan.catalogue import Catalogue, GpuProfile
from stoker.kinds.tensorrt_llm.plan.checkpoint import activation_dtype, checkpoint_cache
from stoker.kinds.tensorrt_llm.plan.devices import busy, pools, take
from stoker.kinds.tensorrt_llm.plan.fit import GpuFit, GpuSetting, fit, range_of
from stoker.kinds.tensorrt_llm.plan.host import too_little_memory
from stoker.kinds.tensorrt_llm.plan.layout import layouts
from stoker.kinds.tensorrt_llm.plan.outcome import Attempt, GpuOutcome
from stoker.kinds.tensorrt_llm.plan.reasons import reasons_for, sources_for
from stoker.kinds.tensorrt_llm.plan.refusal import no_layout, refusal, short
from stoker.kinds.tensorrt_llm.plan.selection import Judged, Obstacle, Question, judge, nothing_left
from stoker.plan.fit import Range
from stoker.plan.overrides import DEFAULT_GOAL
from stoker.plan.types import TEXT, Chosen, Overrides, Plan, Rejection
from stoker.probe.machine import Machine
from stoker.resolve.model import Model

_SIXTEEN = 16


@dataclass(frozen=True)
class Refused:
    """No GPU plan: the error to raise when nothing else serves either, and each profile's reason.

    `by_override`: without the user's overrides for sizes there would be one.
    """

    error: StokerError
    rejected: tuple[Rejection, ...]
    by_override: bool = False


def plan_gpus(
    machine: Machine, model: Model, catalogue: Catalogue, overrides: Overrides, longest: int
) -> Plan | Refused:
    """The best of each kind of free GPU in turn; `longest` is the context that the model allows.

    Raises UsageError for overrides that contradict each other.
    """
    goal = _goal(overrides, catalogue)
    refused: Refused | None = None
    for pool in pools(machine):
        found = _plan_pool(machine, Question(pool, model, overrides, goal, catalogue), longest)
        if isinstance(found, Plan):
            return found
        refused = refused or found
    return refused or _all_busy(machine, catalogue)


def _goal(overrides: Overrides, catalogue: Catalogue) -> str:
    if overrides.profile:
        for profile in catalogue.profiles:
            if profile.name == overrides.profile.value:
                return profile.goal
    return overrides.goal.value if overrides.goal else DEFAULT_GOAL


def _all_busy(machine: Machine, catalogue: Catalogue) -> Refused:
    reasons = "; ".join(f"GPU {gpu.index} ({gpu.name}) {reason}" for gpu, reason in busy(machine))
    error = DoesNotFitError("no GPU is free", why=reasons, remedy="stop what uses them, or serve from the CPU")
    return Refused(error, _rejections((profile, "no GPU is free") for profile in catalogue.profiles))


def _plan_pool(machine: Machine, question: Question, longest: int) -> Plan | Refused:
    judged = tuple(_with_host(one, machine, question) for one in judge(question))
    candidates = [one for one in judged if one.obstacle is None]
    ruled_out = [(one.profile, one.obstacle.reason) for one in judged if one.obstacle]
    if not candidates:
        return Refused(nothing_left(judged, question), _rejections(ruled_out))
    attempts = [attempt for one in candidates for attempt in _attempts(one, question, longest)]
    if not attempts:
        error = no_layout(question, candidates)
        return Refused(
            error, _rejections([*((one.profile, error.why) for one in candidates), *ruled_out]), by_override=True
        )
    taken = _take(attempts)
    if taken is None:
        short_ones = [(profile, short(_of(profile, attempts))) for profile in _profiles(attempts)]
        error, by_override = refusal(attempts, question)
        return Refused(error, _rejections([*short_ones, *ruled_out]), by_override)
    others = [(profile, _why_left(profile, taken, attempts)) for profile in _profiles(attempts)]
    left = [(profile, why) for profile, why in others if profile is not taken.setting.profile]
    rejected = _rejections([*left, *ruled_out])
    following = _next_profile(taken, attempts, question)
    return _plan(GpuOutcome(machine, question, taken, _before(taken, attempts), rejected, longest, following))


def _with_host(one: Judged, machine: Machine, question: Question) -> Judged:
    if one.obstacle and not one.obstacle.by_override:
        return one
    reason = too_little_memory(one.profile.kind, machine, question.model)
    return replace(one, obstacle=Obstacle(reason)) if reason else one


def _attempts(one: Judged, question: Question, longest: int) -> Iterable[Attempt]:
    converter = question.catalogue.converters.get(question.model.architecture.name)
    for split in layouts(question.model, one.profile, question.pool, question.overrides, converter):
        devices = take(question.pool, split)
        if devices is None:
            continue
        kv_precision = _cache(one.profile, question)
        paged = (kv_precision, one.profile.precision) not in one.profile.kind.without_paging
        setting = GpuSetting(one.profile, question.model, split, devices, kv_precision, paged, one.unproven)
        span = range_of(setting, question.overrides, longest)
        yield Attempt(setting, span, _fitted(setting, span, question.overrides))


def _fitted(setting: GpuSetting, span: Range, overrides: Overrides) -> GpuFit | None:
    return fit(setting, span, overrides.max_num_tokens is not None)


def _cache(profile: GpuProfile, question: Question) -> str:
    if question.overrides.kv_precision:
        return question.overrides.kv_precision.value
    own = checkpoint_cache(question.model.quantization)
    if own and own in profile.kv_offered:
        return own
    return activation_dtype_of(profile, question.model) if profile.kv == "activation" else profile.kv


def activation_dtype_of(profile: GpuProfile, model: Model) -> str:
    return profile.precision if profile.bits == 16 else activation_dtype(model)


def _take(attempts: Sequence[Attempt]) -> Attempt | None:
    fitting = [one for one in attempts if one.found]
    comfortable = [one for one in fitting if one.found and one.found.comfortable]
    return next(iter([*comfortable, *fitting]), None)


def _next_profile(taken: Attempt, attempts: Sequence[Attempt], question: Question) -> str:
    """What would have been taken without this profile, where we are the ones who quantise, and of our own accord."""
    profile, overrides = taken.setting.profile, question.overrides
    if profile.bits == _SIXTEEN or question.model.quantization or overrides.precision or overrides.profile:
        return ""
    following = _take([one for one in attempts if one.setting.profile is not profile])
    return following.setting.profile.name if following else ""


def _profiles(attempts: Sequence[Attempt]) -> list[GpuProfile]:
    return list({one.setting.profile.name: one.setting.profile for one in attempts}.values())


def _of(profile: GpuProfile, attempts: Sequence[Attempt]) -> list[Attempt]:
    return [one for one in attempts if one.setting.profile is profile]


def _before(taken: Attempt, attempts: Sequence[Attempt]) -> tuple[Rejection, ...]:
    """Profiles that come before by order and were too large."""
    before = attempts[: list(attempts).index(taken)]
    own = taken.setting.profile
    return _rejections((one, _why_left(one, taken, attempts)) for one in _profiles(before) if one is not own)


def _why_left(profile: GpuProfile, taken: Attempt, attempts: Sequence[Attempt]) -> str:
    own = _of(profile, attempts)
    fitting = [one for one in own if one.found]
    if not fitting:
        return short(own)
    if attempts.index(fitting[0]) < attempts.index(taken) and (found := fitting[0].found):
        return f"would leave a context of only {found.context:,} tokens and {found.batch} sequences at once"
    if own[0].setting.unproven and not taken.setting.unproven:
        return f"is in no table for {own[0].setting.unproven}, so others come first"
    return f"{taken.setting.profile.name} comes before it"


def _rejections(pairs: Iterable[tuple[GpuProfile, str]]) -> tuple[Rejection, ...]:
    return tuple(Rejection(profile.name, reason) for profile, reason in pairs)


def _plan(outcome: GpuOutcome) -> Plan:
    setting, found = outcome.taken.setting, outcome.taken.found
    assert found is not None
    chosen = Chosen(
        profile=setting.profile.name,
        engine=setting.profile.kind.name,
        purpose=TEXT,
        precision=setting.profile.precision,
        kv_precision=setting.kv_precision,
        activation_precision=activation_dtype_of(setting.profile, setting.model),
        tensor_parallel=setting.split.tensor,
        pipeline_parallel=setting.split.pipeline,
        devices=tuple(gpu.index for gpu in setting.devices),
        max_batch_size=found.batch,
        max_num_tokens=found.tokens,
        max_seq_len=found.context,
        threads=outcome.machine.cpu.cores,
        group_size=setting.group_size,
    )
    reasons, sources = reasons_for(chosen, outcome), sources_for(chosen, outcome)
    return Plan(
        outcome.machine,
        setting.model,
        chosen,
        found.budget,
        outcome.rejected,
        reasons,
        sources,
        next_profile=outcome.next_profile,
    )


def check_parallel(overrides: Overrides, machine: Machine) -> None:
    """Raises DoesNotFitError for more GPUs than the machine has, with the most that it could be."""
    tensor = overrides.tensor_parallel.value if overrides.tensor_parallel else 1
    pipeline = overrides.pipeline_parallel.value if overrides.pipeline_parallel else 1
    if tensor < 1 or pipeline < 1:
        raise UsageError("parallel sizes are whole numbers of at least 1")
    free = max((len(pool.gpus) for pool in pools(machine)), default=0)
    if tensor * pipeline > max(free, 1):
        used = "; ".join(f"GPU {gpu.index} {reason}" for gpu, reason in busy(machine))
        why = f"it takes {tensor * pipeline} GPUs of one kind, and {free} are free here" + (f": {used}" if used else "")
        raise DoesNotFitError(
            f"tensor-parallel {tensor} with pipeline-parallel {pipeline} cannot be had",
            why=why,
            remedy=f"the largest that fits: {free} GPUs in all",
        )
