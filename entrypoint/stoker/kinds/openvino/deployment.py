"""What an engine takes of its host: it is built and served in the host's memory."""

from __future__ import annotations

from stoker.deploy.kind import HostNeeds
from stoker.kinds.openvino.plan.catalogue import load_catalogue
from stoker.plan.types import Plan
from stoker.plan.units import size_text

_CACHE_FRACTION = 0.75  # where the profile is no longer in the catalogue
_BUILD_COPIES, _BUILD_LEAST = 1.3, 1536 << 20  # the bound that tests/integration/build/test_memory.py holds builds to


def host_needs(plan: Plan) -> HostNeeds:
    source, engine = plan.model.weights.total_bytes, plan.memory.weights
    return HostNeeds(
        memory=int(_BUILD_COPIES * engine) + _BUILD_LEAST,
        why_memory=f"building this small model takes more than serving it ({size_text(plan.memory.total)})",
        disk=source + engine,
        why_disk=f"checkpoint {size_text(source)}, engine {size_text(engine)}",
        cache_fraction=next(
            (each.memory.kv_fraction for each in load_catalogue() if each.name == plan.chosen.profile), _CACHE_FRACTION
        ),
    )


def gpu_vendors() -> tuple[str, ...]:
    return ()
