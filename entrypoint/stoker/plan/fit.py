"""Finds the largest batch and context of a candidate that memory holds. One sequence of full length always fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stoker.plan.profile import Limits
from stoker.plan.types import Overrides

CONTEXT_STEP = 256


@dataclass(frozen=True)
class Span:
    """From where to start and how far to go down; equal when the user fixed the value."""

    lowest: int
    start: int


@dataclass(frozen=True)
class Range:
    """`tokens` in a step, `least_tokens` where memory is short; a batch above them raises them, since each running
    sequence takes one token of every step. `usual` is the batch before the context gives way, `comfort` the least batch
    and context of a comfortable fit."""

    batch: Span
    context: Span
    tokens: int
    least_tokens: int
    usual: int
    comfort: tuple[int, int]


@dataclass(frozen=True)
class Fit:
    """`tokens` in a step, before batch or whole prompts raise them."""

    batch: int
    context: int
    tokens: int
    comfortable: bool


Fits = Callable[[int, int], bool]
"""Whether this batch and this context fit."""


@dataclass(frozen=True)
class Stage:
    """A shape to try, and how it grows: the context from its lowest to its start, beside the batch that `beside` has
    for it, then the batch to `most`; with `batch_first` in the other order."""

    beside: Callable[[int], int]
    context: Span
    most: int
    batch_first: bool = False


Shrink = Callable[[Range, Limits], tuple[Stage, ...]]
"""In which order batch and context give way: the first stage that fits is taken."""


def range_of(limits: Limits, overrides: Overrides, longest: int) -> Range:
    """`longest` is what the model's configuration allows."""
    step = overrides.max_num_tokens
    start = min(limits.max_batch_size, step.value) if step else limits.max_batch_size
    batch = _fixed(overrides.max_batch_size.value) if overrides.max_batch_size else Span(1, start)
    cap = min(limits.max_seq_len, longest)
    context = Span(min(limits.min_seq_len, cap), cap)
    if overrides.max_seq_len:
        context = _fixed(overrides.max_seq_len.value)
    return Range(
        batch,
        context,
        step.value if step else limits.max_num_tokens,
        step.value if step else limits.min_num_tokens,
        usual=_within(batch, limits.min_batch_size),
        comfort=(_within(batch, limits.comfortable_batch_size), _within(context, limits.comfortable_seq_len)),
    )


def _fixed(value: int) -> Span:
    return Span(value, value)


def _within(span: Span, value: int) -> int:
    return max(span.lowest, min(value, span.start))


def context_last(span: Range, _: Limits) -> tuple[Stage, ...]:
    """The batch gives way to `usual`, the context to what is comfortable, the batch to one sequence, the context."""
    batch, context, comfort = span.batch, span.context, span.comfort[1]
    return (
        Stage(lambda _: span.usual, _fixed(context.start), batch.start),
        Stage(lambda _: span.usual, Span(comfort, context.start), batch.start),
        Stage(lambda _: batch.lowest, Span(comfort, context.start), span.usual, batch_first=True),
        Stage(lambda _: batch.lowest, Span(context.lowest, comfort), span.usual),
    )


def batch_last(span: Range, _: Limits) -> tuple[Stage, ...]:
    """The batch gives way to `usual`, then the context to its lowest, then the batch to one sequence."""
    batch = span.batch
    return (
        Stage(lambda _: span.usual, span.context, batch.start),
        Stage(lambda _: batch.lowest, span.context, batch.start),
    )


def together(span: Range, limits: Limits) -> tuple[Stage, ...]:
    """The batch gives way to `usual`, then both together, so that more memory never gives a shorter context: what is
    left to the cache is as many sequences of the least useful length as the context is long."""
    batch, context = span.batch, span.context

    def beside(length: int) -> int:
        return max(batch.lowest, min(length // limits.min_tokens_per_sequence, span.usual))

    return (
        Stage(lambda _: span.usual, _fixed(context.start), batch.start),
        Stage(beside, context, batch.start),
        Stage(lambda _: batch.lowest, _fixed(context.lowest), batch.start),
    )


def fit(limits: Limits, shrink: Shrink, span: Range, fits: Callable[[int, int, int], bool]) -> Fit | None:
    """With the usual steps if those leave the whole context, else with shorter ones; None if nothing fits.

    `fits` is asked for tokens in a step, batch and context.
    """
    usual = _fit(shrink(span, limits), span, span.tokens, fits)
    if span.least_tokens >= span.tokens or (usual and usual.comfortable and usual.context == span.context.start):
        return usual
    return _fit(shrink(span, limits), span, span.least_tokens, fits) or usual


def _fit(stages: tuple[Stage, ...], span: Range, tokens: int, fits: Callable[[int, int, int], bool]) -> Fit | None:
    def holds(batch: int, context: int) -> bool:
        return fits(tokens, batch, context)

    for stage in stages:
        low = stage.context.lowest
        if holds(stage.beside(low), low):
            batch, context = _grown(stage, holds)
            return Fit(batch, context, tokens, context >= span.comfort[1] and holds(*span.comfort))
    return None


def _grown(stage: Stage, holds: Fits) -> tuple[int, int]:
    low, start = stage.context.lowest, stage.context.start
    if stage.batch_first:
        batch = largest_that_fits(stage.beside(low), stage.most, 1, lambda value: holds(value, low))
        return batch, largest_that_fits(low, start, CONTEXT_STEP, lambda value: holds(batch, value))
    context = largest_that_fits(low, start, CONTEXT_STEP, lambda value: holds(stage.beside(value), value))
    return largest_that_fits(stage.beside(context), stage.most, 1, lambda value: holds(value, context)), context


def largest_that_fits(lowest: int, highest: int, step: int, fits: Callable[[int], bool]) -> int:
    """The largest of `highest`, `lowest` and the multiples of `step` between them; `lowest` is known to fit."""
    if fits(highest):
        return highest
    low, high = lowest // step, -(-highest // step)
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle * step):
            low = middle
        else:
            high = middle
    return max(low * step, lowest)


def largest_or_none(step: int, highest: int, fits: Callable[[int], bool]) -> int:
    """The largest multiple of `step`, or `highest`, that fits; 0 when none does."""
    return largest_that_fits(step, highest, step, fits) if highest >= step and fits(step) else 0
