"""tensorrt_llm.bindings.executor: the executor over a compiled engine, in leader mode."""

from __future__ import annotations

import enum
import itertools
import json
import os
import queue
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tensorrt_llm.core import Core, Sequence_, log


class ModelType(enum.Enum):
    DECODER_ONLY = 0
    ENCODER_ONLY = 1
    ENCODER_DECODER = 2


class FinishReason(enum.Enum):
    NOT_FINISHED = 0
    END_ID = 1
    STOP_WORDS = 2
    LENGTH = 3
    TIMED_OUT = 4
    CANCELLED = 5


REASONS = {
    "": FinishReason.NOT_FINISHED,
    "end": FinishReason.END_ID,
    "stop": FinishReason.STOP_WORDS,
    "length": FinishReason.LENGTH,
    "cancelled": FinishReason.CANCELLED,
}


@dataclass
class KvCacheConfig:
    enable_block_reuse: bool = True
    max_tokens: int | None = None
    max_attention_window: list[int] | None = None
    sink_token_length: int | None = None
    free_gpu_memory_fraction: float | None = None
    host_cache_size: int | None = None
    onboard_blocks: bool = True
    cross_kv_cache_fraction: float | None = None


@dataclass
class ExecutorConfig:
    max_beam_width: int = 1
    scheduler_config: Any = None
    kv_cache_config: KvCacheConfig = field(default_factory=KvCacheConfig)
    enable_chunked_context: bool = False
    normalize_log_probs: bool = True
    iter_stats_max_iterations: int = 1000
    request_stats_max_iterations: int = 0
    max_batch_size: int | None = None
    max_num_tokens: int | None = None
    parallel_config: Any = None
    guided_decoding_config: Any = None


@dataclass
class SamplingConfig:
    beam_width: int = 1
    top_k: int | None = None
    top_p: float | None = None
    top_p_min: float | None = None
    top_p_reset_ids: int | None = None
    top_p_decay: float | None = None
    seed: int | None = None
    temperature: float | None = None
    min_tokens: int | None = None
    beam_search_diversity_rate: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    length_penalty: float | None = None
    early_stopping: int | None = None
    no_repeat_ngram_size: int | None = None
    num_return_sequences: int | None = None
    min_p: float | None = None
    beam_width_array: list[int] | None = None


@dataclass
class OutputConfig:
    return_log_probs: bool = False
    return_context_logits: bool = False
    return_generation_logits: bool = False
    exclude_input_from_output: bool = False
    return_encoder_output: bool = False
    return_perf_metrics: bool = False
    additional_model_outputs: Any = None


@dataclass
class Request:
    input_token_ids: list[int]
    max_tokens: int
    streaming: bool = False
    sampling_config: SamplingConfig = field(default_factory=SamplingConfig)
    output_config: OutputConfig = field(default_factory=OutputConfig)
    end_id: int | None = None
    pad_id: int | None = None
    bad_words: list[list[int]] | None = None
    stop_words: list[list[int]] | None = None
    guided_decoding_params: Any = None


@dataclass
class Result:
    is_final: bool
    output_token_ids: list[list[int]]
    log_probs: list[list[float]] | None
    finish_reasons: list[FinishReason]


@dataclass
class Response:
    request_id: int
    result: Result | None
    error_msg: str = ""

    def has_error(self) -> bool:
        return self.result is None


class Executor:
    """Rank 0 takes requests; in the others the constructor returns too, and `can_enqueue_requests` is false."""

    def __init__(self, model_path: Path, model_type: ModelType, executor_config: ExecutorConfig) -> None:
        self.rank = int(os.environ.get("OMPI_COMM_WORLD_RANK", "0"))
        world = int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1"))
        config = json.loads((model_path / "config.json").read_text())
        wanted = config["pretrained_config"]["mapping"]["world_size"]
        if wanted != world:
            raise RuntimeError(f"mpiSize == tp * pp: {world} processes for {wanted} ranks")
        (model_path / f"rank{self.rank}.engine").read_bytes()
        plugins = config.get("build_config", {}).get("plugin_config", {})
        if executor_config.enable_chunked_context and not plugins.get("use_paged_context_fmha"):
            raise RuntimeError("chunked context needs an engine that is built with paged context FMHA")
        log(executor=self.rank, gpus=os.environ.get("CUDA_VISIBLE_DEVICES", ""), config=executor_config)
        self.core = Core(executor_config.max_batch_size or 2048)
        self.longest = config.get("build_config", {}).get("max_seq_len", 1 << 30)
        self.numbers = itertools.count(1)
        self.ready: queue.SimpleQueue[Response] = queue.SimpleQueue()
        self.running: dict[int, Sequence_] = {}
        self.lock = threading.Lock()

    def can_enqueue_requests(self) -> bool:
        return self.rank == 0

    def enqueue_request(self, request: Request) -> int:
        if request.sampling_config.temperature is not None and request.sampling_config.temperature <= 0:
            raise RuntimeError("temperature must be above 0")
        number = next(self.numbers)
        log(enqueued=request)
        if len(request.input_token_ids) + request.max_tokens > self.longest:
            self.ready.put(Response(number, None, "Prompt length exceeds maximum input length"))
            return number
        stops = [word[-1] for word in request.stop_words or ()]
        end = -1 if request.end_id is None else request.end_id

        def tell(sequence: Sequence_) -> None:
            self.ready.put(Response(number, self._result(request, sequence)))

        sequence = Sequence_(request.input_token_ids, request.max_tokens, end, stops, tell)
        self.running[number] = sequence
        self.core.add(sequence)
        return number

    def _result(self, request: Request, sequence: Sequence_) -> Result:
        """`log_probs` are those of the whole sequence so far."""
        new = [] if sequence.reason == "cancelled" else sequence.ids[-1:]
        log_probs = [[-0.5] * len(sequence.ids)] if request.output_config.return_log_probs else None
        return Result(bool(sequence.reason), [new], log_probs, [REASONS[sequence.reason]])

    def await_responses(self, timeout: timedelta | None = None) -> list[Response]:
        seconds = None if timeout is None else timeout.total_seconds()
        try:
            found = [self.ready.get(timeout=seconds)]
        except queue.Empty:
            return []
        while not self.ready.empty():
            found.append(self.ready.get())
        return found

    def cancel_request(self, id: int) -> None:  # noqa: A002 (its name)
        log(cancelled=id)
        self.running[id].cancelled = True

    def shutdown(self) -> None:
        self.core.stop()
