"""Whether the disk has room for a build, before any of its work is done."""

from __future__ import annotations

import shutil
from pathlib import Path

from stoker.errors import StorageError
from stoker.kinds.tensorrt_llm.plan.catalogue import load_nvidia
from stoker.kinds.tensorrt_llm.plan.host import source_weights
from stoker.plan.types import Plan
from stoker.plan.units import size_text


def check_space(plan: Plan, workspace: Path) -> None:
    """StorageError, with what is missing, if less is free than the build writes."""
    needed, free = build_bytes(plan, workspace), shutil.disk_usage(workspace).free
    if free >= needed:
        return
    raise StorageError(
        f"there is too little disk to build {plan.model.served_name}",
        why=f"it writes about {size_text(needed)}, and {size_text(free)} are free at {workspace.parent}",
        remedy=f"free {size_text(needed - free)}, or name a cache on another disk with --cache",
    )


def build_bytes(plan: Plan, workspace: Path) -> int:
    """What is on the disk at the fullest moment, beside the model itself: the engine, and for compiled ones the
    checkpoint in TensorRT-LLM's own format too."""
    chosen = plan.chosen
    if chosen.engine == "tensorrt_llm":
        return int((load_nvidia().kinds[chosen.engine].host.disk - 1) * source_weights(plan.model))
    if chosen.engine == "tensorrt_llm_pytorch" and _links(plan, workspace):
        return 0
    return weights_bytes(plan)


def weights_bytes(plan: Plan) -> int:
    """Of all devices, as the engine holds them."""
    return plan.memory.weights * max(1, len(plan.chosen.devices))


def _links(plan: Plan, workspace: Path) -> bool:
    """The checkpoint stays as it is, on the disk that it is on already."""
    directory, bits = plan.model.directory, plan.chosen.precision in ("f16", "bf16")
    kept = bits or plan.model.quantization is not None
    return kept and directory is not None and directory.stat().st_dev == workspace.stat().st_dev
