"""The largest batch and context that a device's memory holds.

The batch gives way down to the profile's minimum, then the context, then the batch down to one sequence. One sequence
of full length always fits into the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from stoker.kinds.torch.plan.catalogue import Limits, Place, TorchProfile
from stoker.kinds.torch.plan.device import Device
from stoker.kinds.torch.plan.memory import Shape, budget
from stoker.plan.fit import CONTEXT_STEP, largest_that_fits
from stoker.plan.types import MemoryBudget, Overrides
from stoker.resolve.model import Model


@dataclass(frozen=True)
class Setting:
    """`dtype` is what is computed in, and the cache's type; `why` it is not the checkpoint's own, if it is not."""

    profile: TorchProfile
    place: Place
    device: Device
    model: Model
    ranks: int
    dtype: str
    why: str

    @property
    def limits(self) -> Limits:
        return self.place.goals[self.profile.goal]

    @property
    def limit(self) -> int:
        """Of each rank: on a CPU they share its memory."""
        sharing = 1 if self.device.gpus else self.ranks
        return int(self.device.memory * self.place.available_fraction) // sharing


@dataclass(frozen=True)
class TorchFit:
    batch: int
    context: int
    tokens: int
    budget: MemoryBudget


def budget_for(setting: Setting, batch: int, context: int, tokens: int) -> MemoryBudget:
    shape = Shape(batch, max(tokens, batch), context, setting.ranks, setting.dtype)
    return budget(setting.model, setting.profile, setting.place, shape, setting.limit)


def fit(setting: Setting, overrides: Overrides, longest: int) -> TorchFit | None:
    limits = setting.limits
    tokens = overrides.max_num_tokens.value if overrides.max_num_tokens else limits.max_num_tokens
    most = overrides.max_batch_size.value if overrides.max_batch_size else min(limits.max_batch_size, tokens)
    least = most if overrides.max_batch_size else 1
    usual = max(least, min(limits.min_batch_size, most))
    start = overrides.max_seq_len.value if overrides.max_seq_len else min(limits.max_seq_len, longest)
    shortest = start if overrides.max_seq_len else min(limits.min_seq_len, start)

    def fits(batch: int, context: int) -> bool:
        return holds(setting, batch, context, tokens)

    few = next((count for count in (usual, least) if fits(count, shortest)), None)
    if few is None:
        return None
    context = largest_that_fits(shortest, start, CONTEXT_STEP, lambda length: fits(few, length))
    batch = largest_that_fits(few, most, 1, lambda count: fits(count, context))
    return TorchFit(batch, context, max(tokens, batch), budget_for(setting, batch, context, tokens))


def holds(setting: Setting, batch: int, context: int, tokens: int) -> bool:
    """A sequence of full length, and a short one for each of the batch."""
    found = budget_for(setting, batch, context, tokens)
    needed = max(context, batch * min(context, setting.limits.min_seq_len))
    return found.total <= found.limit and found.kv.tokens >= needed


def least_needed(setting: Setting, overrides: Overrides) -> int:
    """Bytes of each device that one sequence of the shortest or the given length takes."""
    context = overrides.max_seq_len.value if overrides.max_seq_len else setting.limits.min_seq_len
    found = budget_for(setting, 1, context, min(setting.limits.max_num_tokens, context))
    cache = -(-context // found.kv.block_tokens) * found.kv.block_bytes
    return found.total - found.kv.bytes + int(cache / setting.place.kv_fraction)
