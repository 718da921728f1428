"""What a build takes of its host."""

from __future__ import annotations

from pathlib import Path

from stoker.deploy.kind import HostNeeds
from stoker.plan.types import Plan
from stoker.plan.units import size_text

CACHE_BYTES = 1 << 30  # compiled artifacts and the kernels' caches: 58 MB were seen, and more for large models
_LEAST = 8 << 30  # vLLM's processes, and compilers


def disk_bytes(_: Plan, __: Path) -> int:
    """The checkpoint is linked."""
    return CACHE_BYTES


def host_needs(plan: Plan) -> HostNeeds:
    """Files are mapped and read a piece at a time; the processes themselves are the peak."""
    memory, disk = _LEAST, plan.model.source_bytes + CACHE_BYTES
    return HostNeeds(
        memory=memory,
        why_memory=f"vLLM's processes and its compilers take up to {size_text(memory)}",
        disk=disk,
        why_disk=f"the checkpoint and the compiled artifacts take {size_text(disk)}",
        cache_fraction=0,
    )
