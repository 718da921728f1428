"""TensorRT-LLM's compiled engines on NVIDIA's GPUs, behind Triton's C++ backend `tensorrtllm`."""

from __future__ import annotations

from collections.abc import Mapping

from stoker.build.kind import MACHINES, BuildPart, KeyFields
from stoker.deploy.kind import DeployPart
from stoker.kinds.kind import EngineKind
from stoker.kinds.tensorrt_llm.build.offered import form_in_key
from stoker.launch import contract
from stoker.launch.capabilities import Tensors
from stoker.launch.kind import LaunchPart
from stoker.probe.machine import NVIDIA

# The backend declares all that TensorRT-LLM's own repository does.
TENSORS: Mapping[str, Tensors] = {
    "text": Tensors(
        tuple(spec.name for spec in contract.INPUTS if not spec.ours),
        tuple(spec.name for spec in contract.OUTPUTS if not spec.ours),
    )
}

KIND = EngineKind(
    name="tensorrt_llm",
    summary="TensorRT-LLM's compiled engines on NVIDIA GPUs",
    evidence="tested with stand-ins for the GPU",
    baseline=False,
    plan="stoker.kinds.tensorrt_llm.plan.kind:planning",
    build=BuildPart(
        worker="stoker.kinds.tensorrt_llm.build.worker",
        modules=(),
        packages=("tensorrt-llm", "tensorrt", "nvidia-modelopt"),
        version="1",
        folders="stoker.kinds.tensorrt_llm.build.needs:package_folders",
        disk="stoker.kinds.tensorrt_llm.build.needs:disk_bytes",
        ranks_at_once="stoker.kinds.tensorrt_llm.build.needs:parallel_ranks",
        key=KeyFields(
            built=(
                *("engine", "purpose", "precision", "kv_precision", "activation_precision", "group_size"),
                *("tensor_parallel", "pipeline_parallel", "max_batch_size", "max_num_tokens", "max_seq_len"),
                *("max_loras", "max_lora_rank"),
            ),
            launched=("devices", "profile", "threads", "speculative", "draft", *MACHINES),
            derived=form_in_key,
        ),
        portable=False,
    ),
    launch=LaunchPart(
        servable="stoker.kinds.tensorrt_llm.runtime.compiled:servable",
        child="stoker.kinds.tensorrt_llm.runtime.compiled:child",
        tensors=TENSORS,
        keeps_prefixes=True,
        follower="",
    ),
    # Published logs of 1 to 35 billion parameters lie between 2 and 30 (convert and build), the slowest 8B at 64.
    deploy=DeployPart(
        images={NVIDIA: "nvidia"},
        on_request=True,
        build_rate=30,
        host="stoker.kinds.tensorrt_llm.build.needs:host_needs",
    ),
    vendors="stoker.kinds.tensorrt_llm.doctor:gpu_vendors",
    doctor="stoker.kinds.tensorrt_llm.doctor:checks",
)
