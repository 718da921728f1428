"""Finds the largest batch and context of one profile that memory holds.

Order of giving way: the batch down to the profile's minimum, then the context down to what is still comfortable, then
the batch down to one sequence, then the context down to the profile's minimum; whatever a step leaves free is given
back to the other. One sequence of full length always fits into the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stoker.plan.budget import (
    CacheDemand,
    Load,
    activation_bytes,
    dense_kv_bytes_per_token,
    kv_bytes_per_token,
    runtime_bytes,
    weight_bytes,
    with_cache,
)
from stoker.plan.compute import Compute
from stoker.plan.profile import Profile
from stoker.plan.purpose import pools
from stoker.plan.types import KvPool, MemoryBudget, Overrides
from stoker.probe.machine import Cpu
from stoker.resolve.model import Model

CONTEXT_STEP = 256


@dataclass(frozen=True)
class Setting:
    """A profile on one machine for one model; what is left open is batch, context and tokens a step."""

    profile: Profile
    model: Model
    cpu: Cpu
    compute: Compute

    @property
    def group_size(self) -> int:
        own = self.model.quantization.group_size if self.model.quantization else 0
        return (own or self.profile.group_size) if self.profile.group_size else 0


@dataclass(frozen=True)
class Span:
    """From where to start and how far to go down; equal when the user fixed the value."""

    lowest: int
    start: int


@dataclass(frozen=True)
class Range:
    """`tokens` in a step; a batch above it raises it, since each running sequence takes one token of every step."""

    batch: Span
    context: Span
    tokens: int


@dataclass(frozen=True)
class Fit:
    """`comfortable`: neither batch nor context had to go below what the profile calls comfortable."""

    batch: int
    context: int
    tokens: int
    budget: MemoryBudget
    comfortable: bool


def memory_limit(cpu: Cpu, profile: Profile) -> int:
    return int(min(cpu.memory_available, cpu.memory_limit) * profile.memory.available_fraction)


def range_of(setting: Setting, overrides: Overrides, longest: int) -> Range:
    """`longest` is what the model's configuration allows."""
    limits, cores = setting.profile.limits, setting.cpu.cores
    batches = limits.dense_max_batch_size if setting.compute.dense else limits.max_batch_size
    start = batches.at(cores)
    if overrides.max_num_tokens:
        start = min(start, overrides.max_num_tokens.value)
    batch = _fixed(overrides.max_batch_size.value) if overrides.max_batch_size else Span(1, start)
    cap = min(limits.max_seq_len.at(cores), longest)
    context = Span(min(limits.min_seq_len.at(cores), cap), cap)
    if overrides.max_seq_len:
        context = _fixed(overrides.max_seq_len.value)
    tokens = limits.max_num_tokens.at(cores)
    tokens = overrides.max_num_tokens.value if overrides.max_num_tokens else tokens
    return Range(batch, context, tokens)


def _fixed(value: int) -> Span:
    return Span(value, value)


def budget_for(setting: Setting, batch: int, step: int, context: int) -> MemoryBudget:
    """`step` as in Range.tokens. The total is above the limit where this does not fit."""
    profile, architecture, compute = setting.profile, setting.model.architecture, setting.compute
    if pools(setting.model):
        step = max(step, context)  # a text is encoded whole, however long
    load = Load(batch, max(step, batch), context, setting.cpu.cores, compute.activation_precision, compute.dense)
    fixed = MemoryBudget(
        weights=weight_bytes(architecture, setting.model.weights, profile.precision, setting.group_size),
        activations=activation_bytes(architecture, load, profile.memory),
        runtime=runtime_bytes(architecture, profile.memory),
        kv=KvPool(0, profile.memory.kv_block_tokens, 0),
        limit=memory_limit(setting.cpu, profile),
    )
    return fixed if pools(setting.model) else with_cache(fixed, _demand(setting, batch, context))


def _demand(setting: Setting, batch: int, context: int) -> CacheDemand:
    profile, architecture, compute = setting.profile, setting.model.architecture, setting.compute
    limits, cores, memory = profile.limits, setting.cpu.cores, profile.memory
    if compute.dense:
        tokens, per_token = batch * context, dense_kv_bytes_per_token(architecture, compute.kv_precision)
        return CacheDemand(tokens, tokens, per_token, memory.kv_block_tokens, memory.kv_fraction)
    least = max(context, batch * min(context, limits.min_tokens_per_sequence.at(cores)))
    wanted = max(context, batch * min(context, limits.tokens_per_sequence.at(cores)))
    per_token = kv_bytes_per_token(architecture, compute.kv_precision)
    return CacheDemand(least, wanted, per_token, memory.kv_block_tokens, memory.kv_fraction)


def fit(setting: Setting, span: Range) -> Fit | None:
    """None when not even the smallest batch and context fit."""
    limits, cores = setting.profile.limits, setting.cpu.cores
    batch, context = span.batch, span.context
    usual = max(batch.lowest, min(limits.min_batch_size.at(cores), batch.start))
    comfort = max(context.lowest, min(limits.comfortable_seq_len.at(cores), context.start))

    def fits(batch: int, context: int) -> bool:
        return _fits(setting, batch, span.tokens, context)

    if fits(usual, context.start):
        largest = largest_that_fits(usual, batch.start, 1, lambda value: fits(value, context.start))
        return _made(setting, span, largest, context.start, True)
    if fits(usual, comfort):
        largest = largest_that_fits(comfort, context.start, CONTEXT_STEP, lambda value: fits(usual, value))
        more = largest_that_fits(usual, batch.start, 1, lambda value: fits(value, largest))
        return _made(setting, span, more, largest, True)
    if fits(batch.lowest, comfort):
        few = largest_that_fits(batch.lowest, usual, 1, lambda value: fits(value, comfort))
        largest = largest_that_fits(comfort, context.start, CONTEXT_STEP, lambda value: fits(few, value))
        return _made(setting, span, few, largest, False)
    if fits(batch.lowest, context.lowest):
        largest = largest_that_fits(context.lowest, comfort, CONTEXT_STEP, lambda value: fits(batch.lowest, value))
        few = largest_that_fits(batch.lowest, usual, 1, lambda value: fits(value, largest))
        return _made(setting, span, few, largest, False)
    return None


def _made(setting: Setting, span: Range, batch: int, context: int, comfortable: bool) -> Fit:
    return Fit(batch, context, max(span.tokens, batch), budget_for(setting, batch, span.tokens, context), comfortable)


def _fits(setting: Setting, batch: int, tokens: int, context: int) -> bool:
    budget = budget_for(setting, batch, tokens, context)
    return budget.total <= budget.limit


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


def least_budget(setting: Setting, span: Range) -> MemoryBudget:
    """The smallest budget that would serve the overrides."""
    return budget_for(setting, span.batch.lowest, span.tokens, span.context.lowest)


def largest_context(setting: Setting, span: Range) -> int:
    """With the batch as given, or of one sequence; 0 when none fits. In whole blocks of the cache."""
    block = setting.profile.memory.kv_block_tokens
    return _largest(block, span.context.start, lambda value: _fits(setting, span.batch.lowest, span.tokens, value))


def largest_batch(setting: Setting, span: Range) -> int:
    """With the context as given, or the shortest; 0 when none fits."""
    return _largest(1, span.batch.start, lambda value: _fits(setting, value, span.tokens, span.context.lowest))


def largest_step(setting: Setting, span: Range) -> int:
    """Tokens in a step, with the rest as given or at its lowest; 0 when none fits."""
    context = span.context.lowest
    return _largest(1, span.tokens, lambda value: _fits(setting, min(span.batch.lowest, value), value, context))


def _largest(step: int, highest: int, fits: Callable[[int], bool]) -> int:
    return largest_that_fits(step, highest, step, fits) if highest >= step and fits(step) else 0
