"""A profile: one way to build and run an engine. profiles/README.md says what each field means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ENGINES = ("openvino", "tensorrt_llm", "tensorrt_llm_pytorch", "torch")
PRECISIONS = (
    *("f32", "f16", "bf16", "int8", "int4", "int4_awq", "int4_gptq", "int8_sq"),
    *("int8_wo", "int4_wo", "fp8", "fp8_block", "nvfp4", "w4a8_awq"),
)
KV_PRECISIONS = ("u8", "bf16", "f16", "f32", "fp8", "int8", "none")
ACTIVATION_PRECISIONS = ("bf16", "f16", "f32")
GOALS = ("throughput", "latency")
DEVICES = ("cpu", "gpu")
CHECKPOINTS = ("plain", "awq", "gptq")
AUTOMATIC, ON_REQUEST = "automatic", "on_request"


@dataclass(frozen=True)
class Steps:
    """A value for a number of cores: the first of `steps` (cores, value) with enough cores, else `otherwise`."""

    steps: tuple[tuple[int, int], ...]
    otherwise: int

    def at(self, cores: int) -> int:
        return next((value for limit, value in self.steps if cores <= limit), self.otherwise)


@dataclass(frozen=True)
class Activation:
    """What the kernels compute in where one of `isa_any` is there; always where that is empty."""

    precision: str
    isa_any: tuple[str, ...] = ()


@dataclass(frozen=True)
class Requirements:
    device: str
    isa_any: tuple[str, ...] = ()
    isa_none: tuple[str, ...] = ()
    min_compute_capability: tuple[int, int] | None = None


@dataclass(frozen=True)
class Limits:
    max_batch_size: Steps
    max_num_tokens: Steps
    max_seq_len: Steps
    min_batch_size: Steps
    comfortable_seq_len: Steps
    min_seq_len: Steps
    tokens_per_sequence: Steps
    min_tokens_per_sequence: Steps
    dense_max_batch_size: Steps


@dataclass(frozen=True)
class MemoryConstants:
    available_fraction: float
    kv_fraction: float
    kv_block_tokens: int
    runtime_bytes: int
    runtime_bytes_per_vocabulary_entry: int
    per_intermediate: int
    per_attention: int
    per_hidden: int
    logits_bytes: int
    logits_burst_bytes: int
    logits_burst_sequences: int
    score_rows: int
    source: str


@dataclass(frozen=True)
class Profile:
    name: str
    engine: str
    purposes: tuple[str, ...]
    precision: str
    goal: str
    order: int
    group_size: int
    checkpoints: Mapping[str, str]
    kv_precision: str
    kv_precisions: tuple[str, ...]
    activation: tuple[Activation, ...]
    requires: Requirements
    limits: Limits
    memory: MemoryConstants
