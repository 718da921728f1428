"""The arguments of `tensorrt_llm.LLM` that a plan comes to, kept in the engine's directory.

Names and meanings: TensorRT-LLM's LLM API reference (TorchLlmArgs, KvCacheConfig), 1.2. The size of the KV cache is
added when the engine is launched.
"""

from __future__ import annotations

from stoker.launch.adapter_tensors import MODULES
from stoker.plan.types import Chosen

_DTYPES = {"f16": "float16", "bf16": "bfloat16"}


def llm_arguments(chosen: Chosen) -> dict[str, object]:
    """All but `model`, `tokenizer` and the cache's size, which depend on where and when."""
    return {
        "tensor_parallel_size": chosen.tensor_parallel,
        "pipeline_parallel_size": chosen.pipeline_parallel,
        "dtype": _DTYPES[chosen.activation_precision],
        "max_batch_size": chosen.max_batch_size,
        "max_num_tokens": chosen.max_num_tokens,
        "max_seq_len": chosen.max_seq_len,
        "max_input_len": chosen.max_seq_len,  # else 1,024
        "max_beam_width": 1,
        "enable_chunked_prefill": True,  # a long prompt does not hold up the others' tokens
        "guided_decoding_backend": "xgrammar",
        # The other sampler, which is the default, passes over penalties, min_tokens and seeds.
        "sampler_type": "TRTLLMSampler",
        "kv_cache_config": _cache(chosen),
        **({"lora_config": _adapters(chosen)} if chosen.max_loras else {}),
    }


def _adapters(chosen: Chosen) -> dict[str, object]:
    """Every projection: which ones adapters change is not known beforehand."""
    return {
        "lora_target_modules": [name for _, name in MODULES.values()],
        "max_lora_rank": chosen.max_lora_rank,
        "max_loras": chosen.max_loras,
        "max_cpu_loras": 2 * chosen.max_loras,
    }


def _cache(chosen: Chosen) -> dict[str, object]:
    return {
        "dtype": "fp8" if chosen.kv_precision == "fp8" else "auto",
        "enable_block_reuse": True,
        "free_gpu_memory_fraction": 0.95,  # the second limit, should less be free than planned
    }
