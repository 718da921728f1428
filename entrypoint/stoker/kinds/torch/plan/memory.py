"""What a model takes under transformers' continuous batching. docs/planning.md derives the formulas.

Bytes on each device, unless a name says otherwise. The library's own account is PagedAttentionMemoryHandler in
transformers/generation/continuous_batching/cache.py (5.24), which this follows for attention without flash kernels: the
larger case.
"""

from __future__ import annotations

from dataclasses import dataclass

from stoker.kinds.torch.plan.catalogue import Constants, TorchProfile
from stoker.plan.formulas import WIDTH, with_pool
from stoker.plan.kind import Shape
from stoker.plan.types import KvPool, MemoryBudget
from stoker.resolve.model import Architecture, Model

_INDICES = 2 * 8  # of each token in the cache: where it is read and where it was written, int64
_LOGITS = 6 * 4  # f32: logits, log probabilities, probabilities sorted and summed, and the rows handed back
_PER_INTERMEDIATE = 4  # gate, up, their product and its activation
_PER_HIDDEN = 4
_WHOLE_BITS = (16, 32)


@dataclass(frozen=True)
class Load:
    """What is asked of each device: `ranks` of them share the layers."""

    shape: Shape
    ranks: int
    dtype: str


def weight_bytes(model: Model, profile: TorchProfile, load: Load) -> int:
    """Embeddings and the output matrix stay in the type that is computed in; each rank holds its share of the layers,
    and the embeddings whole."""
    architecture = model.architecture
    copies = 1 if architecture.tied_embeddings else 2
    embeddings = copies * architecture.vocabulary_size * architecture.hidden_size
    layers = max(model.weights.parameters - embeddings, 0)
    if profile.bits in _WHOLE_BITS:
        stored = layers * WIDTH[load.dtype]
    else:
        inputs = profile.group_size or architecture.hidden_size
        stored = layers * profile.bits // 8 + -(-layers // inputs) * WIDTH["f16"]
    return -(-stored // load.ranks) + embeddings * WIDTH[load.dtype]


def kv_heads(architecture: Architecture, ranks: int) -> int:
    return -(-architecture.kv_heads // ranks)


def cache_bytes_per_token(architecture: Architecture, load: Load) -> int:
    """Keys and values of one token in all layers, and what attention takes of it for one layer at a time: a copy read
    from the pages, repeated for every query head, its place in the indices, and its column of the mask."""
    heads, keys = -(-architecture.heads // load.ranks), kv_heads(architecture, load.ranks)
    width = WIDTH[load.dtype]
    stored = architecture.layers * 2 * keys * architecture.head_size * width
    copied = (2 * heads + keys) * architecture.head_size * width
    return stored + copied + _INDICES + load.shape.tokens * width


def activation_bytes(architecture: Architecture, load: Load) -> int:
    """Buffers of one step, and scores over the vocabulary for each running sequence."""
    experts = architecture.experts_per_token * architecture.expert_intermediate_size
    divided = _PER_INTERMEDIATE * max(architecture.intermediate_size, experts)
    divided += (architecture.heads + 2 * architecture.kv_heads) * architecture.head_size
    elements = -(-divided // load.ranks) + _PER_HIDDEN * architecture.hidden_size
    mask = load.shape.tokens * load.shape.tokens
    steps = (load.shape.tokens * elements + mask) * WIDTH[load.dtype]
    return steps + load.shape.batch * architecture.vocabulary_size * _LOGITS


def budget(
    model: Model, profile: TorchProfile, place: Constants, load: Load, limit: int, adapters: int = 0
) -> MemoryBudget:
    """The cache takes its fraction of what the rest leaves, or what the batch wants where the place says how much."""
    wanted = place.goals[profile.goal].tokens_per_sequence
    fixed = MemoryBudget(
        weights=weight_bytes(model, profile, load),
        activations=activation_bytes(model.architecture, load),
        runtime=place.runtime_bytes,
        kv=KvPool(0, place.page_tokens, cache_bytes_per_token(model.architecture, load)),
        limit=limit,
        communication=place.communication_bytes if load.ranks > 1 else 0,
        adapters=adapters,
    )
    most = max(load.shape.context, load.shape.batch * min(load.shape.context, wanted)) if wanted else None
    return with_pool(fixed, place.kv_fraction, most)
