"""What a model takes in memory, from facts. docs/planning.md derives and checks every formula here.

Everything is bytes unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from stoker.kinds.openvino.plan.profile import MemoryConstants, OpenvinoProfile
from stoker.kinds.openvino.speculation import draft_precision
from stoker.plan.formulas import WIDTH
from stoker.plan.types import KvPool, MemoryBudget
from stoker.resolve.model import Architecture, Model, Weights

KV_BLOCK_TOKENS = 32

ADAPTER_WIDTH = 2 * 4  # f32, in the file that the graph is opened with and in the kernels' own form

_U8_CONSTANTS = 2 * 4  # a scale and a zero point, both f32
_INT8_ROW = 2 + 1  # each output channel: an f16 scale and a u8 zero point
_SCALE = 2  # f16
_DENSE_COPIES = 3  # a state is rebuilt beside its former self when a step appends to it, with room to grow
_DENSE_SCORES = 32  # elements for each score: scores, capped scores and probabilities of a few layers, fragmentation
_DENSE_ROWS = 256  # smaller steps reallocate more often and save nothing
_DENSE_LOGITS = 10  # bytes for each token of a step and vocabulary entry: the graph computes all of them
_SEEN = 3 + 3  # hidden states of a token: of three layers; one made of them for the model, a sequence and the head
_GUESS_LOGITS = 3 * 4  # bytes: f32, once from the graph, twice while a token is chosen
_GROWTH = 2  # buffers that grow with the context: the old one lives while the new one is made


def kv_bytes_per_token(architecture: Architecture, kv_precision: str, *, by_token: bool = False) -> int:
    """One token's keys and values in all layers, as OpenVINO's paged attention stores them in blocks of 32 tokens.

    Plain types: 2 x KV heads x head size x width. u8: keys are quantised by channel, a block of them being followed by
    an f32 scale and zero point for each element, so (32 + 8) / 32 bytes an element; values by token, so head size + 8.
    `by_token`: keys too, as engines do that guess tokens, so that a wrong guess leaves nothing in a block's scale.
    Confirmed against PipelineMetrics.kv_cache_size_in_bytes in tests/integration/plan. Sliding windows save nothing:
    the paged cache keeps every token of a sequence until it ends.
    """
    heads, size = architecture.kv_heads, architecture.head_size
    if kv_precision == "u8":
        by_channel = -(-size * (KV_BLOCK_TOKENS + _U8_CONSTANTS) // KV_BLOCK_TOKENS)
        keys = size + _U8_CONSTANTS if by_token else by_channel
        return architecture.layers * heads * (keys + size + _U8_CONSTANTS)
    return architecture.layers * 2 * heads * size * WIDTH[kv_precision]


@dataclass(frozen=True)
class Scalars:
    """Scalars by how they are stored, and the output channels that 8-bit scales are kept for."""

    linear: int
    embeddings: int
    linear_rows: int
    embedding_rows: int


def scalars_of(architecture: Architecture, parameters: int) -> Scalars:
    """`parameters` as the checkpoint counts them, tied embeddings once. The few norms and biases count as linear."""
    copies = 1 if architecture.tied_embeddings else 2
    embeddings = copies * architecture.vocabulary_size * architecture.hidden_size
    experts = max(architecture.experts, 1)
    width = architecture.expert_intermediate_size or architecture.intermediate_size
    attention = (architecture.heads + 2 * architecture.kv_heads) * architecture.head_size + architecture.hidden_size
    feed_forward = experts * (2 * width + architecture.hidden_size)
    return Scalars(
        linear=max(parameters - embeddings, 0),
        embeddings=embeddings,
        linear_rows=architecture.layers * (attention + feed_forward),
        embedding_rows=copies * architecture.vocabulary_size,
    )


def weight_bytes(architecture: Architecture, weights: Weights, precision: str, group_size: int = 0) -> int:
    """The built engine's weights, with all experts of a mixture. The runtime repacks them once into memory of its
    own, of the same size; the file's pages beside that are only cache, which the system takes back when it needs to.
    AWQ and GPTQ checkpoints keep their integers, group size and scales; their embeddings become int8 like any other.
    int4_full has the table that is gathered from in int8, and the output matrix beside it, also where they are tied.
    """
    shape = scalars_of(architecture, weights.parameters)
    if precision == "int4_full":
        table = architecture.vocabulary_size * architecture.hidden_size
        shape = replace(
            shape, linear=shape.linear + table, embeddings=table, embedding_rows=architecture.vocabulary_size
        )
    if precision in WIDTH:
        return (shape.linear + shape.embeddings) * WIDTH[precision]
    int8_embeddings = shape.embeddings + shape.embedding_rows * _INT8_ROW
    if not precision.startswith("int4"):
        return int8_embeddings + shape.linear + shape.linear_rows * _INT8_ROW
    groups = -(-shape.linear // group_size)
    return int8_embeddings + shape.linear // 2 + groups * _SCALE + -(-groups // 2)


@dataclass(frozen=True)
class Load:
    """What an engine is asked to hold. `tokens` in one step; `context` is the longest sequence."""

    batch: int
    tokens: int
    context: int
    threads: int
    activation_precision: str
    dense: bool = False


def activation_bytes(architecture: Architecture, load: Load, constants: MemoryConstants) -> int:
    """Buffers of one step, logits and attention scores.

    GenAI gathers before the output matrix, so logits exist only for the last token of each sequence. Dense sequences
    have buffers of their own and logits for every token.
    """
    elements = load.tokens * _elements_per_token(architecture, constants)
    if load.dense:
        requests = elements * WIDTH[load.activation_precision] + _dense_logits(architecture, load)
        return load.batch * requests + _dense_scores(architecture, load)
    logits, scores = _logits(architecture, load, constants), _scores(architecture, load, constants)
    return elements * WIDTH[load.activation_precision] + logits + scores


def _elements_per_token(architecture: Architecture, constants: MemoryConstants) -> int:
    experts = architecture.experts_per_token * architecture.expert_intermediate_size
    heads = (architecture.heads + 2 * architecture.kv_heads) * architecture.head_size
    return (
        constants.per_intermediate * max(architecture.intermediate_size, experts)
        + constants.per_attention * heads
        + constants.per_hidden * architecture.hidden_size
    )


def _logits(architecture: Architecture, load: Load, constants: MemoryConstants) -> int:
    burst = constants.logits_burst_bytes * min(load.batch, constants.logits_burst_sequences)
    return architecture.vocabulary_size * (constants.logits_bytes * load.batch + burst)


def _scores(architecture: Architecture, load: Load, constants: MemoryConstants) -> int:
    row = architecture.heads * load.context * WIDTH["f32"]
    return row * constants.score_rows * (load.threads + _GROWTH)


def _dense_logits(architecture: Architecture, load: Load) -> int:
    return _DENSE_LOGITS * load.tokens * architecture.vocabulary_size


def _dense_scores(architecture: Architecture, load: Load) -> int:
    """Sequences take turns, so there is one set; besides scores one layer's keys and values for every query head."""
    rows = max(load.tokens, _DENSE_ROWS) * _DENSE_SCORES + 2 * architecture.head_size
    return architecture.heads * load.context * rows * WIDTH[load.activation_precision]


def runtime_bytes(architecture: Architecture, constants: MemoryConstants) -> int:
    return constants.runtime_bytes + constants.runtime_bytes_per_vocabulary_entry * architecture.vocabulary_size


def with_draft(fixed: MemoryBudget, draft: Model, profile: OpenvinoProfile, load: Load) -> MemoryBudget:
    """Adds the weights and buffers of a model that guesses tokens; its cache is part of each token's."""
    architecture, constants = draft.architecture, profile.memory
    weights = weight_bytes(architecture, draft.weights, draft_precision(profile.precision))
    vocabulary = constants.runtime_bytes_per_vocabulary_entry * architecture.vocabulary_size
    return replace(
        fixed,
        weights=fixed.weights + weights,
        activations=fixed.activations + activation_bytes(architecture, load, constants),
        runtime=fixed.runtime + vocabulary,
    )


def with_head(
    fixed: MemoryBudget, model: Architecture, head: Model, profile: OpenvinoProfile, load: Load
) -> MemoryBudget:
    """Adds an EAGLE-3 head: its own scalars, GenAI's copy of the model's embedding for it, its step's buffers, and the
    hidden states that the model hands it."""
    table, width = model.vocabulary_size * model.hidden_size, WIDTH.get(profile.precision)
    embedding = table * width if width else table + model.vocabulary_size * _INT8_ROW
    weights = head.weights.parameters * WIDTH.get(draft_precision(profile.precision), 1) + embedding
    seen = load.tokens * _SEEN * model.hidden_size * WIDTH["f32"]
    own = activation_bytes(head.architecture, load, profile.memory)
    return replace(fixed, weights=fixed.weights + weights, activations=fixed.activations + own + seen)


def with_guesses(fixed: MemoryBudget, architecture: Architecture, rows: int, spare: int) -> MemoryBudget:
    """Adds the logits of so many guessed tokens, the copies that sampling makes of them, and `spare` bytes of cache for
    guesses beyond the end."""
    logits = _GUESS_LOGITS * rows * architecture.vocabulary_size
    return replace(fixed, activations=fixed.activations + logits + spare)


@dataclass(frozen=True)
class CacheDemand:
    """Tokens: `least` without which the engine makes no sense, `wanted` for a typical load; `fraction` of what is left
    bounds all beyond `least`."""

    least: int
    wanted: int
    bytes_per_token: int
    block_tokens: int
    fraction: float


def with_cache(fixed: MemoryBudget, demand: CacheDemand) -> MemoryBudget:
    """Adds a cache to a budget without one: at least `least` (the total may then pass the limit), at most `wanted`."""
    left = max(fixed.limit - fixed.total, 0)
    affordable = int(left * demand.fraction) // demand.bytes_per_token
    tokens = max(demand.least, min(demand.wanted, affordable))
    blocks = -(-tokens // demand.block_tokens)
    return replace(fixed, kv=KvPool(blocks, demand.block_tokens, demand.bytes_per_token))


def dense_kv_bytes_per_token(architecture: Architecture, kv_precision: str) -> int:
    """Models whose attention cannot be paged keep each sequence's cache as graph states of several copies."""
    return _DENSE_COPIES * kv_bytes_per_token(architecture, kv_precision)
