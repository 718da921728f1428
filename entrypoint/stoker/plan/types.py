"""What `plan` takes and gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stoker.origin import Sourced
from stoker.probe.machine import Machine
from stoker.resolve.model import Model

TEXT, EMBEDDING, RERANK = "text", "embedding", "rerank"
PURPOSES = (TEXT, EMBEDDING, RERANK)
"""What a model gives: text, vectors, or a score for two texts."""


@dataclass(frozen=True)
class Overrides:
    """What the user set; None where the planner decides. Each value keeps where it came from."""

    engine: Sourced[str] | None = None
    profile: Sourced[str] | None = None
    goal: Sourced[str] | None = None
    precision: Sourced[str] | None = None
    kv_precision: Sourced[str] | None = None
    activation_precision: Sourced[str] | None = None
    max_seq_len: Sourced[int] | None = None
    max_batch_size: Sourced[int] | None = None
    max_num_tokens: Sourced[int] | None = None
    tensor_parallel: Sourced[int] | None = None
    pipeline_parallel: Sourced[int] | None = None
    replicas: Sourced[int] | None = None
    max_loras: Sourced[int] | None = None
    max_lora_rank: Sourced[int] | None = None
    speculative: Sourced[str] | None = None
    nodes: Sourced[int] | None = None


@dataclass(frozen=True)
class Chosen:
    """How the engine is built and run.

    `engine`: the name of its kind. `purpose`: text, embedding or rerank. `precision` of the weights and `kv_precision`:
    names that stoker.settings.spec lists; none for an engine without a cache.
    `activation_precision`: what the kernels compute in (bf16, f16, f32). `max_num_tokens`: tokens in one engine step.
    `devices`: GPU indices of one machine, empty on a CPU; of `nodes` machines each uses as many. `node_rank` and
    `leader` say which of them this is, and where the first one is. `threads`: CPU threads the engine may use.
    `max_loras`: LoRA adapters at once, each of `max_lora_rank` at most; 0 for an engine that takes none. `speculative`:
    how tokens are guessed before the model checks them, one of stoker.plan.speculation's methods; `draft`: which model
    guesses, empty for none.
    """

    profile: str
    engine: str
    purpose: str
    precision: str
    kv_precision: str
    activation_precision: str
    tensor_parallel: int
    pipeline_parallel: int
    devices: tuple[int, ...]
    max_batch_size: int
    max_num_tokens: int
    max_seq_len: int
    threads: int
    group_size: int = 0
    max_loras: int = 0
    max_lora_rank: int = 0
    speculative: str = "off"
    draft: str = ""
    nodes: int = 1
    node_rank: int = 0
    leader: str = ""


def chosen_from(document: Mapping[str, Any]) -> Chosen:
    """From the fields of engine.json or of a build's job; engines made before there was a purpose give text."""
    return Chosen(**{"purpose": TEXT, **document, "devices": tuple(document["devices"])})


@dataclass(frozen=True)
class KvPool:
    """The KV cache of one device: `blocks` of `block_tokens` tokens each, 0 blocks where there is none."""

    blocks: int
    block_tokens: int
    bytes_per_token: int

    @property
    def tokens(self) -> int:
        return self.blocks * self.block_tokens

    @property
    def block_bytes(self) -> int:
        return self.block_tokens * self.bytes_per_token

    @property
    def bytes(self) -> int:
        return self.blocks * self.block_bytes


@dataclass(frozen=True)
class MemoryBudget:
    """Bytes, per device; `total` <= `limit`.

    `context` (CUDA's) and `communication` (between GPUs) are 0 on a CPU. `adapters`: as many as may be loaded at once.
    """

    weights: int
    activations: int
    runtime: int
    kv: KvPool
    limit: int
    context: int = 0
    communication: int = 0
    adapters: int = 0

    @property
    def total(self) -> int:
        fixed = self.weights + self.activations + self.runtime + self.context + self.communication
        return fixed + self.adapters + self.kv.bytes


@dataclass(frozen=True)
class Reason:
    """`text` is for people; `code` is what programs go by, and stays the same when the words change."""

    code: str
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Rejection:
    profile: str
    reason: str


@dataclass(frozen=True)
class Replica:
    """Where one copy of the engine runs: on GPUs, by index, or on CPUs of NUMA nodes, by the kernel's numbers. `cpus`
    is empty where it may run on all, or where the machine's description does not number them."""

    devices: tuple[int, ...] = ()
    cpus: tuple[int, ...] = ()
    nodes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """One engine, and how many copies of it serve: `chosen` and `memory` are those of each of the `replicas`, with the
    devices of the first.

    `sources` says for each field of `chosen` where it came from ("flag --precision", "profile", "planner").

    `next_profile`: what to take, once, should the quantised engine of this plan fail to build; empty for none.
    `why_not_gpus`: of a plan for the CPU, why the machine's GPUs do not serve it; empty where there are none.
    `draft`: the model that guesses tokens, where one does.
    `kind_settings`: fields of `chosen` that were set, though not every engine leaves them open; what the planner chose
    of these is for the machine that it runs on to choose again.
    """

    machine: Machine
    model: Model
    chosen: Chosen
    memory: MemoryBudget
    rejected: tuple[Rejection, ...]
    reasons: tuple[Reason, ...]
    sources: tuple[tuple[str, str], ...]
    next_profile: str = ""
    why_not_gpus: str = ""
    replicas: tuple[Replica, ...] = (Replica(),)
    draft: Model | None = None
    kind_settings: tuple[str, ...] = ()

    @property
    def device_uuids(self) -> tuple[str, ...]:
        """What the chosen devices, those of the first replica, are called to a CUDA program."""
        return self.uuids(self.chosen.devices)

    @property
    def all_devices(self) -> tuple[int, ...]:
        """Those of all replicas."""
        return tuple(index for replica in self.replicas for index in replica.devices)

    def uuids(self, devices: Iterable[int]) -> tuple[str, ...]:
        by_index = {gpu.index: gpu.uuid for gpu in self.machine.gpus}
        return tuple(by_index[index] for index in devices)
