"""What building takes of the host: numbers of profiles/nvidia, for both kinds that its files describe."""

from __future__ import annotations

from pathlib import Path

from stoker.deploy.kind import HostNeeds
from stoker.kinds.tensorrt_llm.plan.catalogue import Host, load_nvidia
from stoker.kinds.tensorrt_llm.plan.host import ranks_at_once
from stoker.plan.types import Plan
from stoker.plan.units import size_text


def host_of(plan: Plan) -> Host:
    return load_nvidia().kinds[plan.chosen.engine].host


def disk_bytes(plan: Plan, _: Path) -> int:
    """The engine and, beside it, the checkpoint in TensorRT-LLM's own format."""
    return int((host_of(plan).disk - 1) * plan.model.source_bytes)


def parallel_ranks(plan: Plan) -> int:
    ranks = plan.chosen.tensor_parallel * plan.chosen.pipeline_parallel
    return ranks_at_once(load_nvidia().kinds[plan.chosen.engine], plan.machine, plan.model, ranks)


def package_folders() -> tuple[str, ...]:
    """Those of the tools' interpreter. BuildError where a tool is missing."""
    from stoker.kinds.tensorrt_llm.build.tools import find_tools

    return find_tools().packages


def host_needs(plan: Plan) -> HostNeeds:
    """Making the engine is the peak."""
    host, source = host_of(plan), plan.model.source_bytes
    memory, disk = max(int(host.memory_enough * source), host.memory_least), int(host.disk * source)
    engine = plan.memory.weights * len(plan.chosen.devices)
    return HostNeeds(
        memory=memory,
        why_memory=f"making the engine peaks at {host.memory_enough:g} times the 16-bit weights ({size_text(memory)})",
        disk=disk,
        why_disk=f"building takes {size_text(disk)}, an engine {size_text(engine)}",
        cache_fraction=0,
    )
