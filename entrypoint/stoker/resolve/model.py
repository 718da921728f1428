"""What `resolve` finds out: one model at a fixed revision, its files and the facts of its architecture.

Sizes are bytes. `config` is the checkpoint's config.json, untouched: the builder of each family reads from it whatever
changes the mathematics; the planner uses only the facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Architecture:
    """The numbers that memory and parallelism follow from.

    `name` is config.json's `architectures[0]`. `experts` is 0 for a dense model. `sliding_window` is None without one;
    `sliding_layers` counts the layers that use it. `vocabulary_size` is the number of the embedding's rows: what a
    tokenizer gives beyond it, the model does not know. `token_types` is the same for an encoder's second table, 0
    without one.
    """

    name: str
    model_type: str
    layers: int
    hidden_size: int
    intermediate_size: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary_size: int
    max_position_embeddings: int
    tied_embeddings: bool = False
    experts: int = 0
    experts_per_token: int = 0
    expert_intermediate_size: int = 0
    sliding_window: int | None = None
    sliding_layers: int = 0
    token_types: int = 0


@dataclass(frozen=True)
class Quantization:
    """A quantisation that the checkpoint already carries. `method`: awq, gptq, fp8, modelopt, compressed-tensors..."""

    method: str
    bits: int
    group_size: int = 0
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Weights:
    """`parameters` counts scalars; `bytes_by_dtype` is what the files hold ("BF16", "F32", "I32"...);
    `measured` is False where they were estimated from the architecture, no file being available."""

    parameters: int
    bytes_by_dtype: Mapping[str, int]
    files: tuple[str, ...] = ()
    measured: bool = True

    @property
    def total_bytes(self) -> int:
        return sum(self.bytes_by_dtype.values())


@dataclass(frozen=True)
class Pooling:
    """What becomes of the last hidden states of a model that generates no text.

    `method`: cls, mean or last give a vector for each input, score (a cross-encoder's head) one number for two texts.
    `prompts` are texts that go before an input, by what the input is ("query"); `default_prompt` names the one that
    does where nothing is said. `max_length` in tokens. `source` names the files that say so.
    """

    method: str
    normalized: bool
    max_length: int
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str = ""
    source: str = ""


@dataclass(frozen=True)
class Model:
    """`served_name` is the API's name for it: `demo`, the repository id, or the directory's name.

    `revision` is a commit for hub models, a digest over the files for directories (empty when only planned).
    `directory` is None when only the facts were fetched (planning needs no weights). `pooling`: of embedding models and
    rerankers; None for those that generate text.
    """

    reference: str
    served_name: str
    revision: str
    architecture: Architecture
    weights: Weights
    config: Mapping[str, object]
    directory: Path | None = None
    files: tuple[str, ...] = ()
    quantization: Quantization | None = None
    chat_template: bool = False
    pooling: Pooling | None = None

    @property
    def source_bytes(self) -> int:
        """What a builder reads: the 16-bit weights, or the checkpoint's own where it is quantised already."""
        return self.weights.total_bytes if self.quantization else 2 * self.weights.parameters
