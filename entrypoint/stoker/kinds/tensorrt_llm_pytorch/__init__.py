"""TensorRT-LLM's PyTorch backend on NVIDIA's GPUs, for architectures that have no compiled engine."""

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

TENSORS: Mapping[str, Tensors] = {
    "text": Tensors(
        (
            *contract.TEXT_INPUTS,
            *contract.PENALTIES,
            *contract.GUIDES,
            *contract.ADAPTERS,
            *("min_tokens", "min_p", "embedding_bias"),
        ),
        (*contract.TEXT_OUTPUTS, contract.REUSED_BLOCKS),
    )
}

KIND = EngineKind(
    name="tensorrt_llm_pytorch",
    summary="TensorRT-LLM's PyTorch backend on NVIDIA GPUs",
    evidence="tested with stand-ins for the GPU",
    baseline=False,
    plan="stoker.kinds.tensorrt_llm_pytorch.plan.kind:planning",
    build=BuildPart(
        worker="stoker.kinds.tensorrt_llm_pytorch.build.worker",
        modules=("tensorrt_llm",),
        packages=("tensorrt-llm", "nvidia-modelopt"),
        version="2",
        folders="stoker.build.kind:own_folders",
        disk="stoker.kinds.tensorrt_llm_pytorch.build.needs:disk_bytes",
        ranks_at_once="stoker.kinds.tensorrt_llm.build.needs:parallel_ranks",
        # The limits are among the arguments that the build leaves for `tensorrt_llm.LLM`.
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
        servable="stoker.kinds.tensorrt_llm_pytorch.runtime.engine:servable",
        child="stoker.kinds.tensorrt_llm_pytorch.runtime.engine:child",
        tensors=TENSORS,
        keeps_prefixes=True,
        follower="",
    ),
    deploy=DeployPart(
        images={NVIDIA: "nvidia"},
        on_request=True,
        build_rate=20,
        host="stoker.kinds.tensorrt_llm.build.needs:host_needs",
    ),
    vendors="stoker.kinds.tensorrt_llm.doctor:gpu_vendors",
    doctor="stoker.kinds.tensorrt_llm.doctor:nothing",
)
