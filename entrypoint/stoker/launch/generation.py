"""What the API process and an engine say to each other, whatever the engine's kind: token ids in, token ids out."""

from __future__ import annotations

from array import array
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from stoker.errors import StokerError


@dataclass(frozen=True)
class Guide:
    """What the text must look like. `kind` is one of TensorRT-LLM's guide types; Stoker asks for EBNF_GRAMMAR only,
    in xgrammar's notation, which both engines speak."""

    kind: str
    text: str


EBNF_GRAMMAR = "ebnf_grammar"


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter in PEFT's format, beside the model's own weights. `number`, from 1 on, is of these very weights:
    what is loaded in its place later has another. `directory` holds adapter_config.json and
    adapter_model.safetensors, which never change."""

    number: int
    directory: str


@dataclass(frozen=True)
class Generation:
    """One sequence to generate. None leaves a value to the engine's default, which is "no effect".

    `end_ids` end the sequence and are the last id given; empty to ignore end-of-sequence. `temperature` 0 is greedy.
    `top_log_probs`: of how many most probable tokens the log probabilities are told too, with `log_probs`.
    `prompt_log_probs`: of how many beside each token of the prompt; None for no scores of the prompt. `max_tokens` may
    be 0 with it.
    `embedding_bias`: f32, added to the logits, one for each.
    `adapter`: None for the model as it is.
    A model that gives a vector heeds `input_ids` and `token_types` alone (which of two texts each id belongs to).
    """

    request_id: str
    input_ids: Sequence[int]
    max_tokens: int
    end_ids: tuple[int, ...] = ()
    min_tokens: int = 0
    temperature: float = 0.0
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    log_probs: bool = False
    guide: Guide | None = None
    embedding_bias: array[float] | None = None
    perf_metrics: bool = False
    token_types: Sequence[int] = ()
    top_log_probs: int = 0
    adapter: Adapter | None = None
    prompt_log_probs: int | None = None


@dataclass(frozen=True)
class PerfMetrics:
    """How one generation went within the engine: seconds that it waited, that its prompt took until the first token,
    and that the other tokens took. `reused_blocks` of its prompt were in the KV cache; None where not reported."""

    queue: float
    prefill: float
    decode: float
    reused_blocks: int | None = None


Top = Sequence[tuple[int, float]]  # the most probable tokens in one's place, and their log probabilities


@dataclass(frozen=True)
class Scores:
    """Log probabilities of a prompt's tokens from the second on. For each token `width` entries of `ids` and
    `log_probs`, its own and then the most probable ones, and one of `ranks`: 1 for the most probable of all."""

    width: int
    ids: Sequence[int]
    log_probs: Sequence[float]
    ranks: Sequence[int]

    def __len__(self) -> int:
        return len(self.ranks)

    def top(self, place: int, count: int) -> Top:
        """Of one token, the `count` most probable in its place."""
        begin = place * self.width + 1
        end = min(begin + count, (place + 1) * self.width)
        return list(zip(self.ids[begin:end], self.log_probs[begin:end], strict=True))

    def own(self, place: int) -> float:
        return self.log_probs[place * self.width]


@dataclass(frozen=True)
class Delta:
    """The ids that one engine step (or a few, under load) added, or none with `perf_metrics`, which come last, when
    asked for; `log_probs` and `top` run parallel to `ids` when asked for. Of a model that gives no text there is
    one, without ids: the `embedding`. `prompt` comes before any id, or with the first."""

    ids: Sequence[int]
    log_probs: Sequence[float] | None = None
    perf_metrics: PerfMetrics | None = None
    embedding: Sequence[float] | None = None
    top: Sequence[Top] | None = None
    prompt: Scores | None = None


@dataclass(frozen=True)
class EngineState:
    """The engine's own gauges. `kv_blocks_used` counts blocks that a running request holds (cached prefixes do not).
    `tokens` so far, and the `steps` of single sequences that gave them; 0 where the engine does not say."""

    running: int
    waiting: int
    kv_blocks_used: int
    kv_blocks_total: int
    kv_block_tokens: int
    steps: int = 0
    tokens: int = 0

    @property
    def accepted_per_step(self) -> float:
        """Guessed tokens that the model kept, for each step of a sequence."""
        return max(self.tokens / self.steps - 1, 0.0) if self.steps else 0.0


@dataclass(frozen=True)
class ReplicaState:
    """The state of one copy of an engine. `engine`: its gauges, None while it does not answer. `requests`: sequences
    that it was given so far, of which it has `sequences` now. `tokens_waiting`: of prompts that it has not begun to
    answer; `tokens_read` and `tokens_held`: of all prompts so far, those that it had to read, and those that it was
    expected to have in its cache."""

    replica: int
    state: str
    restarts: int = 0
    requests: int = 0
    sequences: int = 0
    tokens_waiting: int = 0
    tokens_read: int = 0
    tokens_held: int = 0
    engine: EngineState | None = None


def joint_gauges(replicas: Sequence[ReplicaState]) -> EngineState | None:
    """Of all that answer, as if they were one engine; None where none does."""
    states = [one.engine for one in replicas if one.engine is not None]
    if not states:
        return None
    return EngineState(
        running=sum(state.running for state in states),
        waiting=sum(state.waiting for state in states),
        kv_blocks_used=sum(state.kv_blocks_used for state in states),
        kv_blocks_total=sum(state.kv_blocks_total for state in states),
        kv_block_tokens=states[0].kv_block_tokens,
        steps=sum(state.steps for state in states),
        tokens=sum(state.tokens for state in states),
    )


class EngineDiedError(StokerError):
    """The engine process exited under a request; it is being restarted."""

    code = "engine_died"


def died(reason: str) -> EngineDiedError:
    return EngineDiedError("the engine process exited", why=reason, remedy="it is being restarted; try again")


class RequestRefusedError(StokerError):
    """The engine refused this request; the engine itself is well."""

    code = "request_refused"


class EngineClient(Protocol):
    """Closing the generator early cancels the request in the engine within one step."""

    def generate(self, generation: Generation) -> AsyncGenerator[Delta, None]: ...

    async def state(self) -> EngineState: ...
