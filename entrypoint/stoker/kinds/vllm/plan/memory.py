"""What a model takes of each GPU under vLLM. docs/vllm.md compares it with what a card showed.

Everything is bytes on the GPU that holds most, unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from stoker.kinds.vllm.graphs import decode_sizes, prefill_sizes
from stoker.kinds.vllm.plan.catalogue import NO_CACHE, Constants, VllmProfile
from stoker.plan.devices import Split
from stoker.plan.formulas import WIDTH, with_pool
from stoker.plan.kind import Shape
from stoker.plan.types import KvPool, MemoryBudget
from stoker.resolve.model import Architecture, Model
from stoker.resolve.parameters import count_parameters

KV_WIDTH: Mapping[str, int] = {**WIDTH, "fp8": 1}
_WIDTH = 2  # of everything that is not quantised


def layers_per_gpu(architecture: Architecture, split: Split) -> int:
    return -(-architecture.layers // split.pipeline)


def latent_width(model: Model) -> int:
    """Elements per token and layer of multi-head latent attention's cache (DeepSeek's); 0 for any other attention."""
    rank, rope = model.config.get("kv_lora_rank"), model.config.get("qk_rope_head_dim")
    return rank + rope if isinstance(rank, int) and isinstance(rope, int) else 0


def kv_bytes_per_token(model: Model, kv_precision: str, split: Split) -> int:
    """Keys and values of the GPU's heads in its layers, heads repeated where there are fewer than GPUs; latent
    attention keeps one vector per layer, whole on every GPU. 0 for an engine without a cache."""
    if kv_precision == NO_CACHE:
        return 0
    architecture = model.architecture
    heads = -(-architecture.kv_heads // split.tensor)
    elements = latent_width(model) or 2 * heads * architecture.head_size
    return layers_per_gpu(architecture, split) * elements * KV_WIDTH[kv_precision]


def weight_bytes(model: Model, profile: VllmProfile, split: Split) -> int:
    """One GPU's share. Embeddings and the output matrix are divided too, and tied ones are kept once."""
    if model.quantization is not None:
        return -(-model.weights.total_bytes // split.gpus)
    architecture = model.architecture
    count = count_parameters(model.config, architecture)
    copies = 1 if architecture.tied_embeddings else 2
    tables = copies * architecture.vocabulary_size * architecture.hidden_size
    layers = _stored(count.linear, profile, architecture.hidden_size) + max(count.other - tables, 0) * _WIDTH
    share = layers_per_gpu(architecture, split) / architecture.layers / split.tensor
    return int(layers * share) + -(-tables * _WIDTH // split.tensor)


def _stored(elements: int, profile: VllmProfile, inputs: int) -> int:
    """With a scale for each group, or for each output channel, taken to have as many inputs as the hidden width."""
    scales = -(-elements // (profile.group_size or inputs)) if profile.scale_bytes else 0
    return elements * profile.bits // 8 + scales * profile.scale_bytes


def activation_bytes(architecture: Architecture, shape: Shape, constants: Constants, split: Split) -> int:
    """The peak of the largest step; of one that scores a prompt, once its layers' buffers are free again, that is the
    logits of all of its tokens."""
    scoring = shape.tokens * architecture.vocabulary_size * constants.scorer_bytes
    return max(step_bytes(architecture, shape, constants, split), scoring)


def step_bytes(architecture: Architecture, shape: Shape, constants: Constants, split: Split) -> int:
    """One layer's buffers for the step's tokens, and logits with what sampling makes of them."""
    experts = architecture.experts_per_token * architecture.expert_intermediate_size
    width = max(experts, architecture.intermediate_size)
    heads = -(-architecture.heads // split.tensor) + 2 * -(-architecture.kv_heads // split.tensor)
    elements = (
        constants.per_intermediate * -(-width // split.tensor)
        + constants.per_attention * heads * architecture.head_size
        + constants.per_hidden * architecture.hidden_size
    )
    sampling = shape.batch * architecture.vocabulary_size * constants.sampler_bytes
    return shape.tokens * elements * _WIDTH + sampling


def graph_bytes(architecture: Architecture, shape: Shape, constants: Constants, split: Split) -> int:
    graphs = len(decode_sizes(shape.batch)) + len(prefill_sizes(shape.tokens))
    return graphs * layers_per_gpu(architecture, split) * constants.graph_bytes


def budget(
    model: Model,
    profile: VllmProfile,
    kv_precision: str,
    shape: Shape,
    split: Split,
    limit: int,
    constants: Constants,
    adapters: int = 0,
) -> MemoryBudget:
    """The KV cache takes what the rest leaves, in whole blocks. `adapters`: bytes of all layers, which vLLM divides in
    part only by tensor parallelism."""
    per_token = kv_bytes_per_token(model, kv_precision, split)
    fixed = MemoryBudget(
        weights=weight_bytes(model, profile, split),
        activations=activation_bytes(model.architecture, shape, constants, split),
        runtime=graph_bytes(model.architecture, shape, constants, split),
        kv=KvPool(0, constants.kv_block_tokens, per_token),
        limit=limit,
        context=constants.cuda_context,
        communication=constants.communication if split.gpus > 1 else 0,
        adapters=-(-adapters // split.pipeline),
    )
    return with_pool(fixed, 1.0) if per_token else fixed


def with_further_layers(own: MemoryBudget, architecture: Architecture, count: int, split: Split) -> MemoryBudget:
    """With the layers for further tokens, of which the last pipeline group has all: each is a layer of the model and a
    matrix that joins two hidden states. Its embedding and output matrix are the model's."""
    layers = layers_per_gpu(architecture, split)
    joining = 2 * architecture.hidden_size**2 * _WIDTH
    weights = own.weights + count * (own.weights // layers + joining)
    per_token = own.kv.bytes_per_token + count * (own.kv.bytes_per_token // layers)
    return with_pool(replace(own, weights=weights, kv=KvPool(0, own.kv.block_tokens, per_token)), 1.0)


def with_draft(own: MemoryBudget, draft: Model, kv_precision: str, split: Split) -> MemoryBudget:
    """With the weights of the model that guesses tokens, whole on each GPU, and its part of each token's cache, which
    takes what is left."""
    per_token = own.kv.bytes_per_token + kv_bytes_per_token(draft, kv_precision, Split(1, split.pipeline))
    weights = own.weights + draft.source_bytes
    return with_pool(replace(own, weights=weights, kv=KvPool(0, own.kv.block_tokens, per_token)), 1.0)
