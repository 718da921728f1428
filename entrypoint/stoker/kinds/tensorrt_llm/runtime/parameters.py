"""The parameters of Triton's `tensorrtllm` backend, each set on purpose.

Names and meanings: `inflight_batcher_llm/tensorrt_llm/config.pbtxt` of tensorrtllm_backend, TensorRT-LLM 1.2. What is
not here has no bearing on the engines that we build: beams, encoders, drafts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stoker.kinds.tensorrt_llm.plan.catalogue import load_nvidia
from stoker.plan.types import Chosen

KIND = "tensorrt_llm"


@dataclass(frozen=True)
class Parameter:
    name: str
    value: str
    reason: str


@dataclass(frozen=True)
class AdapterCache:
    """LoRA adapters that an engine was built for. `rank`: the largest; `bytes`: of all that the plan counts;
    `share`: the part of a GPU's memory that these are of what they and the KV pool take."""

    rank: int
    bytes: int
    share: float


@dataclass(frozen=True)
class Served:
    """What the parameters follow from. `kv_tokens`: tokens in the planned KV pool of a rank. `paged_context`: the
    engine's attention over a prompt reads the cache in pages. `vocabulary`: the file that guided decoding needs, empty
    where the engine has none. `dtype`: f16 or bf16, what it computes in."""

    engine_directory: str
    worker: str
    kv_tokens: int
    paged_context: bool
    vocabulary: str = ""
    dtype: str = "f16"
    adapters: AdapterCache | None = None


def paged_context(chosen: Chosen) -> bool:
    """The rule of profiles/nvidia: some pairs of cache and weight precision turn it off."""
    return (chosen.kv_precision, chosen.precision) not in load_nvidia().kinds[KIND].without_paging


def parameters(served: Served) -> Iterator[Parameter]:
    """In the order in which config.pbtxt has them."""
    yield from _engine(served)
    yield from _memory(served)
    yield from _batching(served)
    yield from _answers()
    yield from _guides(served)
    if served.adapters is not None:
        yield from _adapters(served.adapters)


def _engine(served: Served) -> Iterator[Parameter]:
    yield Parameter("gpt_model_path", served.engine_directory, "one rankN.engine for each process")
    yield Parameter("gpt_model_type", "inflight_fused_batching", "sequences join and leave at every step")
    yield Parameter("executor_worker_path", served.worker, "read by the backend; only its orchestrator mode starts it")
    yield Parameter("max_beam_width", "1", "the engines are built for one beam")
    yield Parameter("decoding_mode", "top_k_top_p", "the sampling that the API offers")


def _memory(served: Served) -> Iterator[Parameter]:
    yield Parameter("max_tokens_in_paged_kv_cache", str(served.kv_tokens), "the plan's KV pool, not all that is free")
    yield Parameter(
        "kv_cache_free_gpu_mem_fraction", "0.95", "the second limit, should less be free than planned: leaves 5 %"
    )
    yield Parameter("kv_cache_host_memory_bytes", "0", "no second tier: the plan counts no host memory for it")
    reuse = "prompts that begin alike share blocks" if served.paged_context else "needs paged context attention"
    yield Parameter("enable_kv_cache_reuse", _boolean(served.paged_context), reuse)


def _batching(served: Served) -> Iterator[Parameter]:
    yield Parameter("batch_scheduler_policy", "guaranteed_no_evict", "what has begun to stream is never paused")
    chunked = "a long prompt does not hold up the others' tokens" if served.paged_context else "needs the same"
    yield Parameter("enable_chunked_context", _boolean(served.paged_context), chunked)
    yield Parameter("multi_block_mode", "true", "few long sequences still fill the GPU; the backend's default")
    yield Parameter("cuda_graph_mode", "false", "the backend's default; no figure of ours yet for or against it")


def _answers() -> Iterator[Parameter]:
    yield Parameter("exclude_input_in_output", "true", "a response holds new tokens only")
    yield Parameter("normalize_log_probs", "false", "log probabilities as they are, for one beam")
    yield Parameter(
        "cancellation_check_period_ms", "10", "a cancelled request frees its KV blocks within a step or two"
    )
    yield Parameter("stats_check_period_ms", "100", "the backend's default: metrics lag a tenth of a second")
    yield Parameter("iter_stats_max_iterations", "1000", "the backend's default: metrics come from these")
    yield Parameter("request_stats_max_iterations", "0", "nothing reads them")


def _guides(served: Served) -> Iterator[Parameter]:
    if served.vocabulary:
        yield Parameter("guided_decoding_backend", "xgrammar", "the grammars that the API sends are in its notation")
        yield Parameter("xgrammar_tokenizer_info_path", served.vocabulary, "what each token stands for")


def _adapters(cache: AdapterCache) -> Iterator[Parameter]:
    for name in ("optimal", "max"):
        yield Parameter(f"lora_cache_{name}_adapter_size", str(cache.rank), "the largest rank that the engine takes")
    yield Parameter(
        "lora_cache_gpu_memory_fraction", f"{cache.share:.4f}", "the plan's adapters, of what the loaded engine leaves"
    )
    yield Parameter(
        "lora_cache_host_memory_bytes", str(2 * cache.bytes), "the plan's adapters, and as much for pages partly filled"
    )


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def as_mapping(served: Served) -> Mapping[str, str]:
    return {each.name: each.value for each in parameters(served)}
