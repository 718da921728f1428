"""What to say when nothing fits: how much is missing, and the largest value of each override that would fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from stoker.errors import DoesNotFitError, StokerError, UsageError
from stoker.origin import Sourced
from stoker.plan.attempt import (
    Attempt,
    largest_batch,
    largest_context,
    largest_step,
    least_budget,
    least_shape,
    missing,
    needed_bytes,
    short,
    unbound,
)
from stoker.plan.devices import CPU, SIZES, Place, Split, busy, fits_place
from stoker.plan.kind import PlanKind, Question
from stoker.plan.overrides import asked
from stoker.plan.profile import Profile
from stoker.plan.types import Overrides
from stoker.plan.units import count_text, size_text

_MEASURES: tuple[tuple[str, Callable[[Attempt], int]], ...] = (
    ("max-seq-len", largest_context),
    ("max-batch-size", largest_batch),
    ("max-num-tokens", largest_step),
)


def limits_refused(tried: Sequence[Attempt], overrides: Overrides) -> DoesNotFitError | None:
    """Names, for each limit that the user set, the largest value that fits with the others as they are."""
    given = [(name, measure, getattr(overrides, name.replace("-", "_"))) for name, measure in _MEASURES]
    explicit = [(name, measure, override) for name, measure, override in given if override]
    largest = [(name, max(map(measure, tried))) for name, measure, _ in explicit]
    ways = [f"--{name} {value}" for name, value in largest if value]
    if not ways:
        return None
    what = " with ".join(f"{asked(override, name)} {override.value}" for name, _, override in explicit)
    best = min(tried, key=missing)
    tokens = best.candidate.cache_needed(least_shape(best))
    why = _why(best)
    if not best.candidate.devices and tokens:
        cache = size_text(least_budget(best).kv.bytes)
        why = (
            f"{best.candidate.profile.name} {short([best])}, {cache} of it for {count_text(tokens)} tokens of KV cache"
        )
    return DoesNotFitError(f"{what} does not fit", why=why, remedy=f"the largest that fits: {' or '.join(ways)}")


def replicas_refused(override: Sourced[int], most: int, best: Attempt, place: Place) -> DoesNotFitError:
    """`best`: with `most` replicas, the largest number that fits."""
    gpus = best.candidate.split.gpus
    why = f"each takes {size_text(needed_bytes(best))} of memory at least"
    if place.pool:
        each = "1 GPU" if gpus == 1 else f"{gpus} GPUs that work together"
        why = f"each takes {each}, and {len(place.gpus)} {place.name} are free"
    what = f"{asked(override, 'replicas')} {override.value} is not available"
    return DoesNotFitError(what, why=why, remedy=f"the largest that fits: {most}")


def _why(one: Attempt) -> str:
    return f"{one.candidate.profile.name} {short([one])}, {size_text(least_budget(one).weights)} of it for weights"


def too_large(tried: Sequence[Attempt], possible: Sequence[Attempt], question: Question, place: Place) -> StokerError:
    """`tried` are the candidates that the overrides allow, by order; `possible` those that facts alone allow."""
    override = question.overrides.precision or question.overrides.profile
    fitting = [one for one in map(unbound, possible) if missing(one) <= 0]
    if override is not None and fitting:
        best = max(fitting, key=lambda one: least_budget(one).weights)
        name = "precision" if question.overrides.precision else "profile"
        remedy = f"the largest precision that fits: {best.candidate.profile.precision}"
        what = f"{asked(override, name)} {override.value} does not fit"
        return DoesNotFitError(what, why=_why(min(tried, key=missing)), remedy=remedy)
    where = f"{len(place.gpus)} x {place.name}" if place.pool else "this machine"
    what = f"{question.model.served_name} does not fit {where}" + (f" in {override.value}" if override else "")
    least = min(map(unbound, tried), key=missing)
    remedy = _how_many(tried[-1], question, place) if place.pool else _how_much(least, place)
    own = f"{short([least])}, {size_text(least_budget(least).weights)} of it for weights"
    why = f"{least.candidate.profile.name} {own}"
    if place.pool is None:
        why = f"even with the smallest batch and context, {least.candidate.profile.precision} {own}"
    return DoesNotFitError(what, why=why, remedy=remedy)


def _how_much(one: Attempt, place: Place) -> str:
    """The memory that the planner would have to find to come to this budget's limit."""
    whole = needed_bytes(one) * place.cpu_memory // max(least_budget(one).limit * one.candidate.split.gpus, 1)
    return f"take a machine with {size_text(whole)} of memory available, or a smaller model"


def _how_many(one: Attempt, question: Question, place: Place) -> str:
    """How many of these GPUs would hold it in this precision."""
    kind, profile = one.kind, one.candidate.profile
    for tensor in SIZES:
        split = Split(tensor, 1)
        if kind.why_not_split(profile, question, place, split):
            continue
        wider = kind.candidate(profile, question, place, split, one.candidate.devices)
        if missing(replace(one, candidate=wider)) <= 0:
            return f"about {tensor} of these GPUs would hold it in {profile.precision}; or take a smaller model"
    return "take larger GPUs, or a smaller model"


def no_split(kind: PlanKind, profile: Profile, question: Question, place: Place) -> StokerError:
    """For parallel sizes that the user asked for and that this model or place cannot have."""
    tensor, pipeline = question.overrides.tensor_parallel, question.overrides.pipeline_parallel
    split = Split(tensor.value if tensor else 1, pipeline.value if pipeline else 1)
    given = [(name, one) for name, one in (("tensor-parallel", tensor), ("pipeline-parallel", pipeline)) if one]
    what = " with ".join(f"{asked(one, name)} {one.value}" for name, one in given if one.value > 1)
    if place.pool:
        what = f"tensor-parallel {split.tensor} with pipeline-parallel {split.pipeline}"
        if split.gpus > len(place.gpus):
            why = f"it takes {split.gpus} GPUs of one kind, and {len(place.gpus)} are free here{_busy(question)}"
            remedy = f"the largest that fits: {len(place.gpus)} GPUs in all"
            return DoesNotFitError(f"{what} is not available", why=why, remedy=remedy)
    why = kind.why_not_split(profile, question, place, split)
    error = DoesNotFitError if (not why and not place.pool) or set(kind.devices) == {CPU} else UsageError
    remedy = _possible_sizes(kind, profile, question, place, split.pipeline)
    return error(f"{what or question.model.served_name} is not available", why=why or _too_few(place), remedy=remedy)


def _possible_sizes(kind: PlanKind, profile: Profile, question: Question, place: Place, pipeline: int) -> str:
    sizes = [Split(size, pipeline) for size in range(1, place.widest + 1)]
    fitting = [one for one in sizes if fits_place(one, place)]
    possible = [str(one.tensor) for one in fitting if not kind.why_not_split(profile, question, place, one)]
    if not possible:
        return "leave the parallel sizes to the planner" if place.pool else "use 1"
    return f"tensor-parallel may be {', '.join(possible)} here" if possible != ["1"] else "use 1"


def _busy(question: Question) -> str:
    used = "; ".join(f"GPU {gpu.index} {reason}" for gpu, reason in busy(question.machine))
    return f": {used}" if used else ""


def _too_few(place: Place) -> str:
    if place.pool is None:
        cores = "1 core is" if place.widest == 1 else f"{place.widest} cores are"
        return f"{cores} here, and each rank takes one"
    link = "NVLink joins" if place.pool.nvlink else "there are"
    return f"{link} {place.widest} of the {len(place.gpus)} free {place.name}"
