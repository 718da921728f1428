"""LLM with the PyTorch backend."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tensorrt_llm.core import Core, Ranks, Sequence_, log
from tensorrt_llm.executor.request import LoRARequest
from tensorrt_llm.llmapi.parameters import KvCacheConfig, SamplingParams
from tensorrt_llm.lora_helper import LoraConfig

ARGUMENTS = frozenset(
    """
    model tokenizer tokenizer_mode skip_tokenizer_init trust_remote_code tensor_parallel_size dtype revision
    tokenizer_revision pipeline_parallel_size context_parallel_size gpus_per_node moe_cluster_parallel_size
    moe_tensor_parallel_size moe_expert_parallel_size enable_attention_dp enable_lm_head_tp_in_adp cp_config
    load_format fail_fast_on_attention_window_too_large enable_lora lora_config kv_cache_config
    enable_chunked_prefill guided_decoding_backend batched_logits_processor iter_stats_max_iterations
    request_stats_max_iterations peft_cache_config scheduler_config cache_transceiver_config
    sparse_attention_config speculative_config max_batch_size max_input_len max_seq_len max_beam_width
    max_num_tokens gather_generation_logits num_postprocess_workers postprocess_tokenizer_dir reasoning_parser
    decoding_config mpi_session backend return_perf_metrics orchestrator_type build_config
    garbage_collection_gen0_threshold cuda_graph_config attention_dp_config disable_overlap_scheduler moe_config
    attn_backend sampler_type enable_iter_perf_stats enable_iter_req_stats print_iter_log
    perf_metrics_max_requests batch_wait_timeout_ms batch_wait_timeout_iters batch_wait_max_tokens_ratio
    torch_compile_config enable_autotuner enable_layerwise_nvtx_marker enable_min_latency stream_interval
    force_dynamic_quantization allreduce_strategy checkpoint_loader checkpoint_format kv_connector_config
    mm_encoder_only ray_worker_extension_cls
    """.split()  # noqa: SIM905 (as a table, to be compared with the published one)
)
CHOICES = {
    "dtype": ("auto", "float16", "bfloat16", "float32"),
    "guided_decoding_backend": (None, "xgrammar", "llguidance"),
    "sampler_type": ("auto", "TRTLLMSampler", "TorchSampler"),
    "max_beam_width": (None, 1),
}


class RequestError(RuntimeError):
    """One request's error."""


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None


@dataclass
class KvCacheMetrics:
    num_reused_blocks: int = 0


@dataclass
class RequestPerfMetrics:
    kv_cache_metrics: KvCacheMetrics


@dataclass
class CompletionOutput:
    index: int
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[dict[int, Logprob]] = field(default_factory=list)
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    request_perf_metrics: RequestPerfMetrics | None = None


class RequestOutput:
    """One result, which gives out itself at every step. It belongs to the event loop that it was made in."""

    def __init__(self, sampling: SamplingParams, sequence: Sequence_) -> None:
        self.outputs = [CompletionOutput(0)]
        self.finished = False
        self.sampling, self.sequence = sampling, sequence
        self.loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

    def tell(self, sequence: Sequence_) -> None:
        """From the core's thread."""
        last = sequence.ids[-1] if sequence.ids else 0
        self.loop.call_soon_threadsafe(self.queue.put_nowait, (last, sequence.reason))

    def abort(self) -> None:
        log(abort=self.sequence.sum)
        self.sequence.cancelled = True

    def __aiter__(self) -> RequestOutput:
        return self

    async def __anext__(self) -> RequestOutput:
        if self.finished:
            raise StopAsyncIteration
        last, reason = await self.queue.get()
        self.finished = bool(reason)
        output = self.outputs[0]
        output.finish_reason = {"": None, "end": "stop"}.get(reason, reason)
        output.stop_reason = last if reason == "stop" else None
        if self.finished and self.sampling.return_perf_metrics:
            output.request_perf_metrics = RequestPerfMetrics(KvCacheMetrics(self.sequence.reused))
        left_out = reason == "cancelled" or (reason == "stop" and not self.sampling.include_stop_str_in_output)
        if not left_out:
            output.token_ids.append(last)
            if self.sampling.logprobs:
                output.logprobs.append({last: Logprob(-0.5, 1)})
        return self


class LLM:
    def __init__(
        self,
        model: str,
        tokenizer: str | None = None,
        tokenizer_mode: str = "auto",
        skip_tokenizer_init: bool = False,
        trust_remote_code: bool = False,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        revision: str | None = None,
        tokenizer_revision: str | None = None,
        **kwargs: Any,
    ) -> None:
        for name in kwargs:
            if name not in ARGUMENTS:
                raise ValueError(f"LLM got invalid argument: {name}")
        self.arguments = {"dtype": dtype, **kwargs}
        _check(self.arguments)
        _check_directory(Path(model), Path(tokenizer or model))
        log(llm={**self.arguments, "model": model, "tensor_parallel_size": tensor_parallel_size}, pid=os.getpid())
        self.ranks = Ranks(tensor_parallel_size * kwargs.get("pipeline_parallel_size", 1))
        self.vocabulary = json.loads((Path(model) / "config.json").read_text()).get("vocab_size", 0)
        self.core = Core(kwargs.get("max_batch_size") or 2048)

    def generate_async(
        self,
        inputs: list[int],
        sampling_params: SamplingParams | None = None,
        lora_request: LoRARequest | None = None,
        streaming: bool = False,
    ) -> RequestOutput:
        if self.core.stopped.is_set():
            raise RuntimeError("LLM is shutting down")
        sampling = sampling_params or SamplingParams()
        if not all(type(each) is int for each in inputs):
            raise TypeError(f"The inputs must be type str or list of int, but got {inputs!r}")
        self._check_request(len(inputs), sampling)
        if lora_request is not None:
            self._take(lora_request)
        log(
            request={name: value for name, value in _loggable(sampling).items() if value is not None},
            streaming=streaming,
        )
        end = -1 if sampling.ignore_eos or sampling.end_id is None else sampling.end_id
        sequence = Sequence_(
            inputs, sampling.max_tokens, end, sampling.stop_token_ids or (), lambda each: result.tell(each)
        )
        sequence.sum += lora_request.lora_int_id if lora_request else 0
        sequence.bias(sampling.embedding_bias, self.vocabulary)
        sequence.reused = self.core.reused_blocks(inputs)
        result = RequestOutput(sampling, sequence)
        self.core.add(sequence)
        return result

    def _take(self, lora_request: LoRARequest) -> None:
        lora = self.arguments.get("lora_config")
        if not isinstance(lora, LoraConfig):
            raise ValueError("lora_config is not set")
        config = json.loads((Path(lora_request.lora_path) / "adapter_config.json").read_text())
        if config["r"] > lora.max_lora_rank:
            raise ValueError(f"rank {config['r']} is above max_lora_rank {lora.max_lora_rank}")
        log(lora=lora_request)

    def _check_request(self, prompt: int, sampling: SamplingParams) -> None:
        longest = self.arguments.get("max_seq_len")
        if longest and prompt + sampling.max_tokens > longest:
            raise ValueError(
                f"The sum of prompt length ({prompt}) and max_tokens ({sampling.max_tokens}) should not exceed "
                f"max_seq_len ({longest})"
            )
        if sampling.guided_decoding is not None and self.arguments.get("guided_decoding_backend") is None:
            raise ValueError("guided_decoding_backend is not set")

    def shutdown(self) -> None:
        self.core.stop()
        self.ranks.stop()


def _loggable(sampling: SamplingParams) -> dict[str, Any]:
    """Without what is as long as the vocabulary."""
    return asdict(replace(sampling, embedding_bias=None))


def _check(arguments: dict[str, Any]) -> None:
    for name, choices in CHOICES.items():
        if name in arguments and arguments[name] not in choices:
            raise ValueError(f"{name} {arguments[name]!r} is not one of {choices}")
    cache = arguments.get("kv_cache_config")
    if cache is not None and not isinstance(cache, KvCacheConfig):
        raise ValueError(f"kv_cache_config {cache!r}")


def _check_directory(model: Path, tokenizer: Path) -> None:
    if not (model / "config.json").is_file() or not list(model.glob("*.safetensors")):
        raise ValueError(f"{model} is not a Hugging Face checkpoint")
    if not (tokenizer / "tokenizer.json").is_file():
        raise ValueError(f"{tokenizer} has no tokenizer")
