"""How many parameters a decoder has, from its configuration alone; checked against published counts in the tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stoker.resolve.facts import Config, layer_numbers, number, with_defaults
from stoker.resolve.model import Architecture

_NORMS_PER_LAYER: Mapping[str, int] = {"gemma2": 4, "gemma3_text": 4}
_HEAD_NORMS = frozenset({"qwen3", "qwen3_moe", "gemma3_text"})  # query and key normalised head by head
_WIDE_NORMS = frozenset({"olmo2", "olmo3"})  # query and key normalised over all heads at once
_ALWAYS_BIASED = frozenset({"qwen2", "qwen2_moe"})  # query, key and value only


@dataclass(frozen=True)
class Parameters:
    """`linear` are the layers' matrices, which quantised checkpoints hold packed; `other` embeddings, norms, biases."""

    linear: int
    other: int

    @property
    def total(self) -> int:
        return self.linear + self.other


def count_parameters(config: Config, architecture: Architecture) -> Parameters:
    """Counts scalars; tied embeddings once."""
    text = with_defaults(config)
    sparse = _sparse_layers(text, architecture)
    dense = architecture.layers - sparse
    hidden = architecture.hidden_size
    matrix = hidden * architecture.intermediate_size
    expert = 3 * hidden * architecture.expert_intermediate_size
    linear = architecture.layers * _attention(architecture)
    linear += dense * 3 * matrix + sparse * architecture.experts * expert
    other = _embeddings(architecture) + hidden
    other += architecture.layers * (_norms(architecture) + _attention_bias(text, architecture))
    other += dense * _mlp_bias(text, architecture) + sparse * architecture.experts * hidden
    return Parameters(linear, other)


def _attention(architecture: Architecture) -> int:
    queries, keys = _widths(architecture)
    return architecture.hidden_size * (2 * queries + 2 * keys)


def _widths(architecture: Architecture) -> tuple[int, int]:
    return architecture.heads * architecture.head_size, architecture.kv_heads * architecture.head_size


def _embeddings(architecture: Architecture) -> int:
    copies = 1 if architecture.tied_embeddings else 2
    return copies * architecture.vocabulary_size * architecture.hidden_size


def _norms(architecture: Architecture) -> int:
    norms = _NORMS_PER_LAYER.get(architecture.model_type, 2) * architecture.hidden_size
    if architecture.model_type in _HEAD_NORMS:
        return norms + 2 * architecture.head_size
    if architecture.model_type in _WIDE_NORMS:
        return norms + sum(_widths(architecture))
    return norms


def _attention_bias(text: Config, architecture: Architecture) -> int:
    queries, keys = _widths(architecture)
    inputs, output = _biased(text, architecture.model_type)
    return inputs * (queries + 2 * keys) + output * architecture.hidden_size


def _biased(text: Config, model_type: str) -> tuple[bool, bool]:
    """Whether queries, keys and values have biases, and whether attention's output has."""
    if model_type in _ALWAYS_BIASED:
        return True, False
    given = bool(text.get("attention_bias"))
    return given, bool(text.get("attention_out_bias")) if model_type == "seed_oss" else given


def _mlp_bias(text: Config, architecture: Architecture) -> int:
    return 2 * architecture.intermediate_size + architecture.hidden_size if text.get("mlp_bias") else 0


def _sparse_layers(text: Config, architecture: Architecture) -> int:
    """Layers with experts: all of Mixtral's; Qwen's may be thinned by decoder_sparse_step and mlp_only_layers."""
    if not architecture.experts:
        return 0
    step = number(text, "decoder_sparse_step", 1)
    dense = layer_numbers(text, "mlp_only_layers")
    return sum(layer not in dense and (layer + 1) % step == 0 for layer in range(architecture.layers))
