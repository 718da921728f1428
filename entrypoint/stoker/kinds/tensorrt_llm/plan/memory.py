"""What a model takes of each GPU under TensorRT-LLM. docs/planning.md derives and checks every formula here.

Everything is bytes on the GPU that holds most, unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping

from stoker.kinds.tensorrt_llm.plan.catalogue import Constants, GpuProfile
from stoker.plan.devices import Split
from stoker.plan.formulas import with_pool
from stoker.plan.kind import Shape
from stoker.plan.types import KvPool, MemoryBudget
from stoker.resolve.model import Architecture, Model
from stoker.resolve.parameters import count_parameters

KV_WIDTH: Mapping[str, int] = {"f16": 2, "bf16": 2, "int8": 1, "fp8": 1}
_WIDTH = 2  # f16 and bf16: what everything that is not quantised is kept and computed in


def layers_per_gpu(architecture: Architecture, split: Split) -> int:
    return -(-architecture.layers // split.pipeline)


def kv_heads_per_gpu(architecture: Architecture, split: Split) -> int:
    """Heads are repeated where there are fewer than GPUs."""
    return -(-architecture.kv_heads // split.tensor)


def kv_bytes_per_token(architecture: Architecture, kv_precision: str, split: Split) -> int:
    """TensorRT-LLM's calculateCacheSizePerToken: keys and values of the GPU's heads in the GPU's layers."""
    heads = kv_heads_per_gpu(architecture, split)
    return layers_per_gpu(architecture, split) * heads * 2 * architecture.head_size * KV_WIDTH[kv_precision]


def weight_bytes(model: Model, profile: GpuProfile, split: Split) -> int:
    """One GPU's share of the layers and, whole, the embeddings, which TensorRT-LLM keeps on every GPU of the first
    pipeline group unless told otherwise; or its share of the output matrix, on the last group. Tied ones are two.
    """
    return layer_bytes(model, profile, split) + _vocabulary(model, split)


def layer_bytes(model: Model, profile: GpuProfile, split: Split) -> int:
    """One GPU's share of the layers, without embeddings and output matrix."""
    layers = layers_per_gpu(model.architecture, split)
    return -(-_all_layers(model, profile, split) * layers // model.architecture.layers)


def _all_layers(model: Model, profile: GpuProfile, split: Split) -> int:
    """All layers, as one GPU of a tensor-parallel group holds them."""
    architecture, count = model.architecture, count_parameters(model.config, model.architecture)
    copies = 1 if architecture.tied_embeddings else 2
    plain = count.other - copies * architecture.vocabulary_size * architecture.hidden_size
    keys = 2 * architecture.layers * architecture.hidden_size * architecture.head_size
    matrices = -(-(count.linear - keys * architecture.kv_heads) // split.tensor)
    matrices += keys * kv_heads_per_gpu(architecture, split)
    return _stored(matrices, profile, architecture.hidden_size) + plain * _WIDTH


def _stored(elements: int, profile: GpuProfile, inputs: int) -> int:
    """With a scale for each group, or for each output channel, taken to have as many inputs as the hidden width."""
    scales = -(-elements // (profile.group_size or inputs)) if profile.scale_bytes else 0
    return elements * profile.bits // 8 + scales * profile.scale_bytes


def _vocabulary(model: Model, split: Split) -> int:
    table = model.architecture.vocabulary_size * model.architecture.hidden_size * _WIDTH
    output = -(-table // split.tensor)
    return table + output if split.pipeline == 1 else max(table, output)


def activation_bytes(architecture: Architecture, shape: Shape, constants: Constants, split: Split) -> int:
    """Execution context memory: linear in the tokens of a step, one layer's worth, split by tensor parallelism, without
    the hidden states."""
    experts = architecture.experts_per_token * architecture.expert_intermediate_size
    width = experts or architecture.intermediate_size
    heads = -(-architecture.heads // split.tensor) + 2 * kv_heads_per_gpu(architecture, split)
    elements = (
        constants.per_intermediate * -(-width // split.tensor)
        + constants.per_attention * heads * architecture.head_size
        + constants.per_hidden * architecture.hidden_size
    )
    return shape.tokens * elements * _WIDTH


def runtime_bytes(architecture: Architecture, shape: Shape, constants: Constants) -> int:
    """Runtime and decoder buffers, allocated for the largest batch of the longest sequences."""
    vocabulary = int(constants.sequence_bytes_per_vocabulary_entry * architecture.vocabulary_size)
    return shape.batch * (vocabulary + constants.sequence_bytes_per_token * shape.context)


def budget(
    model: Model, profile: GpuProfile, kv_precision: str, shape: Shape, split: Split, limit: int, adapters: int = 0
) -> MemoryBudget:
    """The cache takes its fraction of whatever the rest leaves, in whole blocks. `adapters`: bytes of all layers; every
    GPU of a tensor-parallel group is taken to hold its layers' whole."""
    constants = profile.kind.memory
    fixed = MemoryBudget(
        weights=weight_bytes(model, profile, split),
        activations=activation_bytes(model.architecture, shape, constants, split),
        runtime=runtime_bytes(model.architecture, shape, constants),
        kv=KvPool(0, constants.kv_block_tokens, kv_bytes_per_token(model.architecture, kv_precision, split)),
        limit=limit,
        context=constants.cuda_context,
        communication=constants.communication if split.gpus > 1 else 0,
        adapters=-(-adapters // split.pipeline),
    )
    return with_pool(fixed, constants.kv_fraction)
