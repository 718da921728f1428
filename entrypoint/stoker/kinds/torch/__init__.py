"""PyTorch on any device, by transformers' continuous batching; nothing is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from stoker.build.kind import BuildPart, KeyFields, nothing_more
from stoker.deploy.kind import DeployPart
from stoker.kinds.kind import EngineKind
from stoker.launch import contract
from stoker.launch.capabilities import Tensors
from stoker.launch.kind import LaunchPart
from stoker.plan.types import Chosen
from stoker.probe.machine import NVIDIA

# transformers' continuous batching keeps no counts of a request's tokens on the device, which penalties and a least
# length would need.
TENSORS: Mapping[str, Tensors] = {
    "text": Tensors((*contract.TEXT_INPUTS, *contract.ADAPTERS, "min_p"), contract.TEXT_OUTPUTS)
}

_BUILT = ("engine", "purpose", "precision")

KIND = EngineKind(
    name="torch",
    summary="PyTorch and transformers on any device, where nothing else serves",
    evidence="tested on a CPU",
    baseline=True,
    plan="stoker.kinds.torch.plan.kind:planning",
    build=BuildPart(
        worker="stoker.kinds.torch.build.worker",
        modules=("torch",),
        packages=(),
        version="1",
        folders="stoker.build.kind:own_folders",
        disk="stoker.build.kind:linked_alone",
        ranks_at_once="stoker.build.kind:one_rank",
        key=KeyFields(
            built=_BUILT,
            launched=tuple(field.name for field in fields(Chosen) if field.name not in _BUILT),
            derived=nothing_more,
        ),
        portable=True,
    ),
    launch=LaunchPart(
        servable="stoker.kinds.torch.runtime.engine:servable",
        child="stoker.kinds.torch.runtime.engine:child",
        tensors=TENSORS,
        keeps_prefixes=False,
        follower="",
    ),
    # Weights are read, not built.
    deploy=DeployPart(
        images={NVIDIA: "torch"}, on_request=True, build_rate=5, host="stoker.kinds.torch.deployment:host_needs"
    ),
    vendors="stoker.kinds.torch.vendor:gpu_vendors",
    doctor="stoker.kinds.torch.doctor:checks",
)
