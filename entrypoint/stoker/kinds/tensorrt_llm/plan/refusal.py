"""What to say when no GPU profile fits: how much is missing, and the largest value of each override that would fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stoker.errors import DoesNotFitError, StokerError, UsageError
from stoker.kinds.tensorrt_llm.plan.fit import fits, least_needed
from stoker.kinds.tensorrt_llm.plan.layout import no_stages, why_not
from stoker.kinds.tensorrt_llm.plan.memory import Split, weight_bytes
from stoker.kinds.tensorrt_llm.plan.outcome import Attempt
from stoker.kinds.tensorrt_llm.plan.selection import Judged, Question
from stoker.plan.fit import largest_that_fits
from stoker.plan.overrides import asked
from stoker.plan.units import size_text

_MOST_GPUS = 16


def short(own: Sequence[Attempt]) -> str:
    """Of a profile's attempts that with the least missing."""
    best = min(own, key=lambda one: least_needed(one.setting, one.span) - one.setting.limit)
    needed, split = least_needed(best.setting, best.span), best.setting.split
    where = f"each of {split.gpus} GPUs" if split.gpus > 1 else "the GPU"
    missing = size_text(max(needed - best.setting.limit, 0))
    return f"needs {size_text(needed)} on {where}, {missing} more than the {size_text(best.setting.limit)} that is free"


def refusal(attempts: Sequence[Attempt], question: Question) -> tuple[StokerError, bool]:
    """The error, and whether smaller limits than the given ones would do."""
    limits = _limits_refused(attempts, question)
    return (limits, True) if limits else (_model_refused(attempts, question), False)


def _largest_context(one: Attempt) -> int:
    block = one.setting.profile.kind.memory.kv_block_tokens
    return _largest(
        block,
        one.span.context.start,
        lambda value: fits(one.setting, one.span.batch.lowest, _tokens(one), value),
    )


def _largest_batch(one: Attempt) -> int:
    context = one.span.context.lowest
    return _largest(1, one.span.batch.start, lambda value: fits(one.setting, value, _tokens(one), context))


def _largest_step(one: Attempt) -> int:
    context = one.span.context.lowest
    return _largest(
        1, one.span.tokens, lambda value: fits(one.setting, min(one.span.batch.lowest, value), value, context)
    )


def _tokens(one: Attempt) -> int:
    return min(one.span.tokens, one.setting.profile.limits.min_num_tokens)


def _largest(step: int, highest: int, holds: Callable[[int], bool]) -> int:
    return largest_that_fits(step, highest, step, holds) if highest >= step and holds(step) else 0


_MEASURES: tuple[tuple[str, Callable[[Attempt], int]], ...] = (
    ("max-seq-len", _largest_context),
    ("max-batch-size", _largest_batch),
    ("max-num-tokens", _largest_step),
)


def _limits_refused(attempts: Sequence[Attempt], question: Question) -> DoesNotFitError | None:
    overrides = question.overrides
    given = [(name, measure, getattr(overrides, name.replace("-", "_"))) for name, measure in _MEASURES]
    explicit = [(name, measure, override) for name, measure, override in given if override]
    largest = [(name, max(map(measure, attempts))) for name, measure, _ in explicit]
    ways = [f"--{name} {value}" for name, value in largest if value]
    if not ways:
        return None
    what = " with ".join(f"{asked(override, name)} {override.value}" for name, _, override in explicit)
    remedy = f"the largest that fits: {' or '.join(ways)}"
    return DoesNotFitError(f"{what} does not fit", why=_why(attempts), remedy=remedy)


def _why(attempts: Sequence[Attempt]) -> str:
    best = min(attempts, key=lambda one: least_needed(one.setting, one.span) - one.setting.limit)
    weights = size_text(weight_bytes(best.setting.model, best.setting.profile, best.setting.split))
    return f"{best.setting.profile.name} {short([best])}, {weights} of it for weights"


def _model_refused(attempts: Sequence[Attempt], question: Question) -> DoesNotFitError:
    override = question.overrides.precision or question.overrides.profile
    what = f"{question.model.served_name} does not fit {len(question.pool.gpus)} x {question.pool.name}"
    if override:
        what += f" in {override.value}"
    return DoesNotFitError(what, why=_why(attempts), remedy=_how_many(attempts[-1], question))


def _how_many(one: Attempt, question: Question) -> str:
    """How many of these GPUs would hold it in this precision."""
    setting, model = one.setting, question.model
    room = setting.limit - (least_needed(setting, one.span) - weight_bytes(model, setting.profile, setting.split))
    for tensor in (1, 2, 4, 8, _MOST_GPUS):
        split = Split(tensor, 1)
        if why_not(model.architecture, setting.profile, split):
            continue
        if weight_bytes(model, setting.profile, split) <= room:
            precision = setting.profile.precision
            return f"about {tensor} of these GPUs would hold it in {precision}; or take a smaller model"
    return "take larger GPUs, or a smaller model"


def no_layout(question: Question, candidates: Sequence[Judged]) -> StokerError:
    """For parallel sizes that the user asked for and that this model or machine cannot have."""
    tensor, pipeline = question.overrides.tensor_parallel, question.overrides.pipeline_parallel
    split = Split(tensor.value if tensor else 1, pipeline.value if pipeline else 1)
    profile, architecture = candidates[0].profile, question.model.architecture
    converter = question.catalogue.converters.get(architecture.name)
    possible = [
        size
        for size in range(1, question.pool.widest + 1)
        if size * split.pipeline <= len(question.pool.gpus)
        and not why_not(architecture, profile, Split(size, split.pipeline))
    ]
    why = why_not(architecture, profile, split) or no_stages(profile, converter, split)
    if not why:
        link = "NVLink joins" if question.pool.nvlink else "there are"
        why = f"{link} {question.pool.widest} of the {len(question.pool.gpus)} free {question.pool.name}"
    remedy = (
        f"tensor-parallel may be {', '.join(map(str, possible))} here"
        if possible
        else "leave the parallel sizes to the planner"
    )
    what = f"tensor-parallel {split.tensor} with pipeline-parallel {split.pipeline} cannot be had"
    return (UsageError if split.gpus <= len(question.pool.gpus) else DoesNotFitError)(what, why=why, remedy=remedy)
