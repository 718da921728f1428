"""OpenVINO on CPUs: a graph of our own, compressed by NNCF, run by OpenVINO GenAI's continuous batching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from stoker.build.kind import MACHINES, BuildPart, KeyFields
from stoker.deploy.kind import CPU, DeployPart
from stoker.kinds.kind import EngineKind
from stoker.launch import contract
from stoker.launch.capabilities import Tensors
from stoker.launch.kind import LaunchPart
from stoker.resolve.rope import rope_digest

if TYPE_CHECKING:
    from stoker.plan.types import Chosen
    from stoker.resolve.model import Model

_ENCODER = Tensors(contract.ENCODER_INPUTS, contract.ENCODER_OUTPUTS)
TENSORS: Mapping[str, Tensors] = {
    "text": Tensors(
        (
            *(*contract.TEXT_INPUTS, *contract.PENALTIES, *contract.GUIDES, *contract.ADAPTERS),
            *("min_tokens", "min_p", "embedding_bias", "top_log_probs", "prompt_log_probs"),
        ),
        contract.TEXT_OUTPUTS,
    ),
    "embedding": _ENCODER,
    "rerank": _ENCODER,
}


def derived(model: Model, chosen: Chosen) -> Mapping[str, object]:
    """The rope settings are the one thing of the graph that depends on how long the context is; and of adapters, that
    there may be some."""
    rope = {"rope": rope_digest(model.config, chosen.max_seq_len)}
    return {**rope, "adapters": True} if chosen.max_loras else rope


KIND = EngineKind(
    name="openvino",
    summary="OpenVINO on any x86-64 or Arm processor",
    evidence="tested with real engines; without paged attention (Gemma 2) it refuses a text of a given form",
    baseline=False,
    plan="stoker.kinds.openvino.plan.kind:planning",
    build=BuildPart(
        worker="stoker.kinds.openvino.build.worker",
        modules=("openvino",),
        packages=("openvino", "nncf"),
        version="4",
        folders="stoker.build.kind:own_folders",
        disk="stoker.build.kind:engine_alone",
        ranks_at_once="stoker.build.kind:one_rank",
        key=KeyFields(
            built=("engine", "purpose", "precision", "group_size", "tensor_parallel", "pipeline_parallel", "draft"),
            launched=(
                *("activation_precision", "devices", "kv_precision", "max_batch_size"),
                *("max_num_tokens", "max_seq_len", "profile", "threads", "max_loras", "max_lora_rank", "speculative"),
                *MACHINES,
            ),
            derived=derived,
        ),
        portable=True,
    ),
    launch=LaunchPart(
        servable="stoker.kinds.openvino.runtime.engine:servable",
        child="stoker.kinds.openvino.runtime.engine:child",
        tensors=TENSORS,
        keeps_prefixes=True,
        follower="",
    ),
    # int8 of a 0.5B model took 15 s on two cores.
    deploy=DeployPart(
        images={CPU: "cpu"}, on_request=False, build_rate=15, host="stoker.kinds.openvino.deployment:host_needs"
    ),
    vendors="stoker.kinds.openvino.deployment:gpu_vendors",
    doctor="stoker.kinds.openvino.doctor:checks",
)
