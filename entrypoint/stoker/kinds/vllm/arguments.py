"""vLLM's arguments for a plan: a pure function, for the build and every start alike, since compiled artifacts are found
by a hash over most of them."""

from __future__ import annotations

from typing import Any

from stoker.kinds.vllm.graphs import largest
from stoker.kinds.vllm.speculation import speculative_arguments
from stoker.plan.types import TEXT, Chosen
from stoker.resolve.model import Pooling

_DTYPES = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}
# Precisions that vLLM makes of 16-bit weights while it loads them. What a checkpoint already is, it finds by itself.
_ONLINE = {"fp8": "fp8", "fp8_block": "fp8_per_block", "int8_wo": "int8_per_channel_weight_only"}
# vLLM takes no share of the device's memory where it is told the cache's bytes, but refuses to start unless that share
# is free: on a device that others use too, or that a killed engine has not left yet.
_NO_SHARE = 0.01
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM sets memory aside for
MASTER_PORT = 29501
"""Of the leader, where vLLM's ranks find each other: vLLM's own default."""


def engine_arguments(chosen: Chosen, kv_bytes: int, quantized: bool = False) -> dict[str, Any]:
    """vLLM's EngineArgs by name, without the model. `kv_bytes`: the KV cache of each device. `quantized`: the
    checkpoint's weights are in the plan's precision already."""
    arguments: dict[str, Any] = {
        "dtype": _DTYPES[chosen.activation_precision],
        "max_model_len": chosen.max_seq_len,
        "max_num_seqs": chosen.max_batch_size,
        "max_num_batched_tokens": max(chosen.max_num_tokens, chosen.max_batch_size),
        "kv_cache_memory_bytes": kv_bytes,
        "gpu_memory_utilization": _NO_SHARE,
        "enable_prefix_caching": True,
        "tensor_parallel_size": chosen.tensor_parallel,
        "pipeline_parallel_size": chosen.pipeline_parallel,
    }
    if chosen.kv_precision == "fp8":
        arguments["kv_cache_dtype"] = "fp8"
    if chosen.precision in _ONLINE and not quantized:
        arguments["quantization"] = _ONLINE[chosen.precision]
    if chosen.devices:
        arguments["max_cudagraph_capture_size"] = largest(arguments["max_num_batched_tokens"])
    if chosen.tensor_parallel > 1:
        # The pass that joins all-reduce and normalization crashed in graph capture on some Hopper boards.
        arguments["compilation_config"] = {"pass_config": {"fuse_allreduce_rms": False}}
    arguments |= speculative_arguments(chosen)
    if chosen.max_loras:
        rank = next(each for each in _RANKS if each >= chosen.max_lora_rank)
        # On CPUs vLLM 0.32 gives tokens without an adapter that of the last place: one more place stays empty.
        places = chosen.max_loras if chosen.devices else chosen.max_loras + 1
        arguments |= {"enable_lora": True, "max_loras": places, "max_lora_rank": rank}
    if chosen.nodes > 1:
        arguments |= _among_machines(chosen)
    if chosen.purpose != TEXT:
        arguments |= {"runner": "pooling", "enable_prefix_caching": False}
    return arguments


def _among_machines(chosen: Chosen) -> dict[str, object]:
    """Ranks are numbered machine by machine, so that each has whole pipeline stages."""
    return {
        "nnodes": chosen.nodes,
        "node_rank": chosen.node_rank,
        "master_addr": chosen.leader,
        "master_port": MASTER_PORT,
        "distributed_executor_backend": "mp",
    }


def pooler_arguments(pooling: Pooling | None) -> dict[str, object]:
    """How a model that generates no text pools, as its files were read at resolve: vLLM would read them its own way.
    Scores are those before any activation, which the API applies itself."""
    if pooling is None:
        return {}
    if pooling.method == "score":
        return {"pooler_config": {"use_activation": False}}
    return {"pooler_config": {"pooling_type": pooling.method.upper(), "use_activation": pooling.normalized}}


def environment(chosen: Chosen) -> dict[str, str]:
    """Of vLLM's processes on a CPU, whose cores vLLM would otherwise take from the whole host."""
    if chosen.devices:
        return {}
    return {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(max(1, chosen.threads))}
