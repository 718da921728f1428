"""What an engine takes of its host: the checkpoint passes through the host's memory once."""

from __future__ import annotations

from stoker.deploy.kind import HostNeeds
from stoker.kinds.torch.plan.catalogue import load_torch
from stoker.plan.types import Plan
from stoker.plan.units import size_text

_COPIES, _LEAST = 1.2, 4 << 30  # our estimate


def host_needs(plan: Plan) -> HostNeeds:
    source = plan.model.source_bytes
    memory = max(int(_COPIES * source), _LEAST if plan.chosen.devices else 0)
    place = load_torch().places["gpu" if plan.chosen.devices else "cpu"]
    return HostNeeds(
        memory=memory,
        why_memory=f"making the engine peaks at {_COPIES:g} times the 16-bit weights ({size_text(memory)})",
        disk=source,
        why_disk=f"the checkpoint takes {size_text(source)}",
        cache_fraction=0 if plan.chosen.devices else place.kv_fraction,
    )
