"""What the formulas of several kinds have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from stoker.plan.kind import Shape
from stoker.plan.profile import Limits, Profile
from stoker.plan.sources import MODEL
from stoker.plan.types import MemoryBudget, Overrides
from stoker.resolve.model import Architecture, Model

WIDTH: Mapping[str, int] = {"f32": 4, "f16": 2, "bf16": 2}
"""Bytes of an element."""


def loras_of(overrides: Overrides) -> tuple[int, int]:
    """How many adapters, and of which rank at most; nothing of an engine that takes none."""
    count, rank = overrides.max_loras, overrides.max_lora_rank
    return (count.value, rank.value if rank else 0) if count else (0, 0)


def adapter_bytes(architecture: Architecture, overrides: Overrides, width: int) -> int:
    """As many adapters as there may be. `width`: bytes of an element."""
    count, rank = loras_of(overrides)
    return count * rank * bytes_per_rank(architecture, width)


def bytes_per_rank(architecture: Architecture, width: int) -> int:
    """Of an adapter on every projection of every layer; the experts of a mixture take none."""
    hidden, heads = architecture.hidden_size, architecture.heads * architecture.head_size
    attention = 2 * (hidden + heads) + 2 * (hidden + architecture.kv_heads * architecture.head_size)
    feed_forward = 0 if architecture.experts else 3 * (hidden + architecture.intermediate_size)
    return architecture.layers * (attention + feed_forward) * width


def group_size(profile: Profile, model: Model) -> int:
    """Weights that share a scale: the checkpoint's own number where it has one, 0 for a precision without groups."""
    own = model.quantization.group_size if model.quantization else 0
    return (own or profile.group_size) if profile.group_size else 0


def group_size_source(profile: Profile, model: Model) -> str:
    own = model.quantization is not None and model.quantization.group_size and profile.group_size
    return MODEL if own else f"profile {profile.name}"


def cache_needed(limits: Limits, shape: Shape) -> int:
    """Tokens: a sequence of full length, and what each of the batch must have at least."""
    return max(shape.context, shape.batch * min(shape.context, limits.min_tokens_per_sequence))


def with_pool(fixed: MemoryBudget, share: float, most: int | None = None) -> MemoryBudget:
    """Gives the cache its share of what the rest leaves, in whole blocks; no more than `most` tokens need."""
    blocks = int(max(fixed.limit - fixed.total, 0) * share) // fixed.kv.block_bytes
    if most is not None:
        blocks = min(blocks, -(-most // fixed.kv.block_tokens))
    return replace(fixed, kv=replace(fixed.kv, blocks=blocks))
