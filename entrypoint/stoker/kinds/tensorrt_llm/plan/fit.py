"""The largest batch and context of one profile in one layout that each GPU's memory holds.

Order of giving way: the batch down to the profile's minimum, the tokens of a step, then batch and context together down
to the profile's minimum. One sequence of full length always fits into the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from stoker.kinds.tensorrt_llm.plan.catalogue import GpuProfile
from stoker.kinds.tensorrt_llm.plan.memory import Load, Split, budget
from stoker.plan.fit import CONTEXT_STEP, Range, Span, largest_that_fits
from stoker.plan.types import MemoryBudget, Overrides
from stoker.probe.machine import Gpu
from stoker.resolve.model import Model


@dataclass(frozen=True)
class GpuSetting:
    """`paged`: attention over the prompt reads the cache in pages; without it a prompt is one step."""

    profile: GpuProfile
    model: Model
    split: Split
    devices: tuple[Gpu, ...]
    kv_precision: str
    paged: bool
    unproven: str

    @property
    def limit(self) -> int:
        """What is free on the fullest of the GPUs; of unified memory the system keeps a part."""
        free = min(gpu.memory_free for gpu in self.devices)
        share = self.profile.kind.memory.unified_fraction if self.devices[0].unified_memory else 1.0
        return int(free * share)

    @property
    def group_size(self) -> int:
        """Of scales in the weights; the checkpoint's own where it has one."""
        own = self.model.quantization.group_size if self.model.quantization else 0
        return (own or self.profile.group_size) if self.profile.group_size else 0


@dataclass(frozen=True)
class GpuFit:
    batch: int
    context: int
    tokens: int
    budget: MemoryBudget
    comfortable: bool


def range_of(setting: GpuSetting, overrides: Overrides, longest: int) -> Range:
    limits = setting.profile.limits
    start = limits.max_batch_size
    if overrides.max_num_tokens:
        start = min(start, overrides.max_num_tokens.value)
    batch = _fixed(overrides.max_batch_size.value) if overrides.max_batch_size else Span(1, start)
    cap = min(limits.max_seq_len, longest)
    context = Span(min(limits.min_seq_len, cap), cap)
    if overrides.max_seq_len:
        context = _fixed(overrides.max_seq_len.value)
    tokens = overrides.max_num_tokens.value if overrides.max_num_tokens else limits.max_num_tokens
    return Range(batch, context, tokens)


def _fixed(value: int) -> Span:
    return Span(value, value)


def step_tokens(setting: GpuSetting, tokens: int, batch: int, context: int) -> int:
    """Each running sequence takes one token of a step; a prompt that cannot be cut into pieces takes all of its own."""
    return max(tokens, batch, 0 if setting.paged else context)


def budget_for(setting: GpuSetting, batch: int, tokens: int, context: int) -> MemoryBudget:
    load = Load(batch, step_tokens(setting, tokens, batch, context), context)
    return budget(setting.model, setting.profile, setting.kv_precision, load, setting.split, setting.limit)


def needed_cache(setting: GpuSetting, batch: int, context: int) -> int:
    """Tokens without which the plan makes no sense: a sequence of full length, and some for each of the batch."""
    return max(context, batch * min(context, setting.profile.limits.min_tokens_per_sequence))


def fits(setting: GpuSetting, batch: int, tokens: int, context: int) -> bool:
    found = budget_for(setting, batch, tokens, context)
    return found.total <= found.limit and found.kv.tokens >= needed_cache(setting, batch, context)


def fit(setting: GpuSetting, span: Range, fixed_tokens: bool) -> GpuFit | None:
    """With the usual steps if those leave the whole context, else with shorter ones; None if nothing fits."""
    usual = _fit(setting, span, span.tokens)
    if fixed_tokens or (usual and usual.comfortable and usual.context == span.context.start):
        return usual
    shorter = _fit(setting, span, min(span.tokens, setting.profile.limits.min_num_tokens))
    return shorter or usual


def _fit(setting: GpuSetting, span: Range, tokens: int) -> GpuFit | None:
    """Batch and context shrink together, so that more memory never gives a shorter context: what is left to the cache
    is as many sequences of the least useful length as the context is long."""
    limits, batch, context = setting.profile.limits, span.batch, span.context
    usual = max(batch.lowest, min(limits.min_batch_size, batch.start))
    comfort = max(context.lowest, min(limits.comfortable_seq_len, context.start))

    def holds(batch: int, context: int) -> bool:
        return fits(setting, batch, tokens, context)

    def batch_beside(context: int) -> int:
        return max(batch.lowest, min(context // limits.min_tokens_per_sequence, usual))

    if not holds(batch.lowest, context.lowest):
        return None
    length = context.lowest
    if holds(usual, context.start):
        length = context.start
    elif holds(batch_beside(length), length):
        length = largest_that_fits(length, context.start, CONTEXT_STEP, lambda value: holds(batch_beside(value), value))
    few = largest_that_fits(batch.lowest, batch.start, 1, lambda value: holds(value, length))
    steps = step_tokens(setting, tokens, few, length)
    comfortable = length >= comfort and holds(usual, comfort)
    return GpuFit(few, length, steps, budget_for(setting, few, tokens, length), comfortable)


def least_needed(setting: GpuSetting, span: Range) -> int:
    """Bytes of each GPU that the smallest batch and context, or the given ones, take with the cache they need."""
    batch, context = span.batch.lowest, span.context.lowest
    found = budget_for(setting, batch, min(span.tokens, setting.profile.limits.min_num_tokens), context)
    cache = -(-needed_cache(setting, batch, context) // found.kv.block_tokens) * found.kv.block_bytes
    return found.total - found.kv.bytes + int(cache / setting.profile.kind.memory.kv_fraction)
