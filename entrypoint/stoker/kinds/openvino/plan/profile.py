"""A profile of OpenVINO's. profiles/README.md says what each field means."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.plan.profile import Limits, Profile

CHECKPOINTS = ("plain", "awq", "gptq")
CALIBRATED = ("int4_awq", "int4_gptq", "int8_sq")


@dataclass(frozen=True)
class Steps:
    """A value for a number of cores: the first of `steps` (cores, value) with enough cores, else `otherwise`."""

    steps: tuple[tuple[int, int], ...]
    otherwise: int

    def at(self, cores: int) -> int:
        return next((value for limit, value in self.steps if cores <= limit), self.otherwise)


@dataclass(frozen=True)
class Activation:
    """What the kernels may compute in where one of `isa_any` is there; always where that is empty."""

    precision: str
    isa_any: tuple[str, ...] = ()


@dataclass(frozen=True)
class Requirements:
    isa_any: tuple[str, ...] = ()
    isa_none: tuple[str, ...] = ()


@dataclass(frozen=True)
class CpuLimits:
    max_batch_size: Steps
    max_num_tokens: Steps
    max_seq_len: Steps
    min_batch_size: Steps
    comfortable_seq_len: Steps
    min_seq_len: Steps
    tokens_per_sequence: Steps
    min_tokens_per_sequence: Steps
    dense_max_batch_size: Steps

    def at(self, cores: int, dense: bool) -> Limits:
        """`dense`: each sequence has a cache of its own."""
        batches = self.dense_max_batch_size if dense else self.max_batch_size
        return Limits(
            max_batch_size=batches.at(cores),
            min_batch_size=self.min_batch_size.at(cores),
            comfortable_batch_size=self.min_batch_size.at(cores),
            max_num_tokens=self.max_num_tokens.at(cores),
            min_num_tokens=self.max_num_tokens.at(cores),
            max_seq_len=self.max_seq_len.at(cores),
            comfortable_seq_len=self.comfortable_seq_len.at(cores),
            min_seq_len=self.min_seq_len.at(cores),
            min_tokens_per_sequence=self.min_tokens_per_sequence.at(cores),
        )


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
class OpenvinoProfile(Profile):
    kv_precision: str
    activation: tuple[Activation, ...]
    requires: Requirements
    limits: CpuLimits
    memory: MemoryConstants
