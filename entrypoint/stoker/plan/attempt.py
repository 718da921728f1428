"""One candidate tried on: the shape that its memory holds, if any, and what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from stoker.plan.fit import Fit, Range, fit, largest_or_none, range_of
from stoker.plan.kind import Candidate, PlanKind, Question, Shape
from stoker.plan.types import MemoryBudget, Replica
from stoker.plan.units import size_text


@dataclass(frozen=True)
class Attempt:
    """`found` is None where not even the smallest batch and context fit."""

    kind: PlanKind
    candidate: Candidate
    span: Range
    found: Fit | None
    replicas: tuple[Replica, ...]


def attempt(kind: PlanKind, candidate: Candidate, question: Question, replicas: tuple[Replica, ...]) -> Attempt:
    span = range_of(candidate.limits, question.overrides, question.longest)
    found = fit(candidate.limits, candidate.shrink, span, lambda *shape: _fits(candidate, *shape))
    return Attempt(kind, candidate, span, found, replicas)


def shape_of(candidate: Candidate, tokens: int, batch: int, context: int) -> Shape:
    """Each running sequence takes one token of a step; a prompt that cannot be cut into pieces takes all of its own."""
    return Shape(batch, max(tokens, batch, context if candidate.whole_prompts else 0), context)


def _fits(candidate: Candidate, tokens: int, batch: int, context: int) -> bool:
    shape = shape_of(candidate, tokens, batch, context)
    budget = candidate.budget(shape)
    return budget.total <= budget.limit and budget.kv.tokens >= candidate.cache_needed(shape)


def least_shape(one: Attempt) -> Shape:
    """The smallest batch and context, or those the user set."""
    span = one.span
    return shape_of(one.candidate, span.least_tokens, span.batch.lowest, span.context.lowest)


def least_budget(one: Attempt) -> MemoryBudget:
    return one.candidate.budget(least_shape(one))


def needed_bytes(one: Attempt) -> int:
    """What the least shape takes of each device, with the cache that it needs."""
    budget, tokens = least_budget(one), one.candidate.cache_needed(least_shape(one))
    cache = -(-tokens // budget.kv.block_tokens) * budget.kv.block_bytes if tokens else 0
    return budget.total - budget.kv.bytes + int(cache / one.candidate.cache_share)


def missing(one: Attempt) -> int:
    """Bytes; 0 and below where it fits."""
    return needed_bytes(one) - least_budget(one).limit


def short(attempts: Sequence[Attempt]) -> str:
    """What is missing to the one that is nearest to fitting."""
    best = min(attempts, key=missing)
    needed, limit, gpus = needed_bytes(best), least_budget(best).limit, best.candidate.split.gpus
    more = f"{size_text(max(needed - limit, 0))} more than the"
    if not best.candidate.devices:
        each = f" for each of {gpus} processes" if gpus > 1 else ""
        return f"needs {size_text(needed)}{each}, {more} limit of {size_text(limit)}"
    where = f"each of {gpus} GPUs" if gpus > 1 else "the GPU"
    return f"needs {size_text(needed)} on {where}, {more} {size_text(limit)} that is free"


def unbound(one: Attempt) -> Attempt:
    """With limits at the profile's own minimum, whatever the user set."""
    limits, span = one.candidate.limits, one.span
    lowest = min(span.context.lowest, limits.min_seq_len)
    least = replace(span, batch=replace(span.batch, lowest=1), context=replace(span.context, lowest=lowest))
    return replace(one, span=replace(least, least_tokens=min(span.least_tokens, limits.min_num_tokens)))


def largest_context(one: Attempt) -> int:
    """With the batch as set, or of one sequence; 0 when none fits. In whole blocks of the cache."""
    block = max(least_budget(one).kv.block_tokens, 1)
    return _largest(one, block, one.span.context.start, lambda value: (one.span.batch.lowest, value))


def largest_batch(one: Attempt) -> int:
    """With the context as set, or the shortest; 0 when none fits."""
    return _largest(one, 1, one.span.batch.start, lambda value: (value, one.span.context.lowest))


def largest_step(one: Attempt) -> int:
    """Tokens in a step, with the rest as set or at its lowest; 0 when none fits."""
    batch, context = one.span.batch.lowest, one.span.context.lowest
    return largest_or_none(1, one.span.tokens, lambda value: _fits(one.candidate, value, min(batch, value), context))


def _largest(one: Attempt, step: int, highest: int, shape: Callable[[int], tuple[int, int]]) -> int:
    tokens = one.span.least_tokens
    return largest_or_none(step, highest, lambda value: _fits(one.candidate, tokens, *shape(value)))
