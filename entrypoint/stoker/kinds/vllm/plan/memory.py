"""What a model takes of each GPU under vLLM. Bytes, on the GPU that holds most."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.kinds.vllm.plan.catalogue import Constants, VllmProfile
from stoker.plan.devices import Split
from stoker.plan.formulas import with_pool
from stoker.plan.kind import Shape
from stoker.plan.types import KvPool, MemoryBudget
from stoker.resolve.model import Architecture, Model

_WIDTH = 2  # 16 bits: what is not quantised
_SCALE = 2
_KV_WIDTH = {"bf16": 2, "f16": 2, "fp8": 1}


@dataclass(frozen=True)
class Load:
    shape: Shape
    split: Split
    kv_precision: str
    limit: int


def weight_bytes(model: Model, profile: VllmProfile, split: Split) -> int:
    """Layers and, where they are not tied, both tables over the ranks: vLLM divides the vocabulary too."""
    architecture = model.architecture
    table = architecture.vocabulary_size * architecture.hidden_size
    tables = table if architecture.tied_embeddings else 2 * table
    layers = max(model.weights.parameters - tables, 0)
    stored = layers * profile.bits // 8
    if profile.group_size:
        stored += -(-layers // profile.group_size) * _SCALE
    return -(-stored // split.gpus) + -(-tables * _WIDTH // split.tensor)


def kv_bytes_per_token(architecture: Architecture, kv_precision: str, split: Split) -> int:
    """KV heads are repeated where there are fewer than ranks."""
    layers, heads = -(-architecture.layers // split.pipeline), -(-architecture.kv_heads // split.tensor)
    return layers * heads * 2 * architecture.head_size * _KV_WIDTH[kv_precision]


def activation_bytes(architecture: Architecture, load: Load, constants: Constants) -> int:
    """Buffers of the largest step, and the scores over the vocabulary of each running sequence."""
    experts = architecture.experts_per_token * architecture.expert_intermediate_size
    width = max(architecture.intermediate_size, experts)
    heads = (architecture.heads + 2 * architecture.kv_heads) * architecture.head_size
    divided = constants.per_intermediate * width + constants.per_attention * heads
    elements = -(-divided // load.split.tensor) + constants.per_hidden * architecture.hidden_size
    logits = load.shape.batch * architecture.vocabulary_size * constants.logits_bytes
    return load.shape.tokens * elements * _WIDTH + logits


def budget(model: Model, profile: VllmProfile, constants: Constants, load: Load) -> MemoryBudget:
    """The cache takes all that the rest leaves: `kv_cache_memory_bytes` states it."""
    per_token = kv_bytes_per_token(model.architecture, load.kv_precision, load.split)
    fixed = MemoryBudget(
        weights=weight_bytes(model, profile, load.split),
        activations=activation_bytes(model.architecture, load, constants),
        runtime=load.shape.batch * constants.graph_bytes_per_sequence,
        kv=KvPool(0, constants.block_tokens, per_token),
        limit=load.limit,
        context=constants.cuda_context,
        communication=constants.communication if load.split.gpus > 1 else 0,
    )
    return with_pool(fixed, 1.0)
