"""What the API is told by the settings and by the plan."""

from __future__ import annotations

from stoker.plan.types import Plan
from stoker.serve.admission import Capacity
from stoker.serve.limits import Limits
from stoker.settings.layers import Settings


def limits_of(settings: Settings) -> Limits:
    return Limits(
        body_bytes=int(settings["max-body"].value) << 20,
        messages=int(settings["max-messages"].value),
        prompt_tokens=int(settings["max-prompt-len"].value or 0),
        seconds=float(settings["request-timeout"].value),
        queue=int(settings["max-queue"].value),
    )


def capacity_of(plan: Plan) -> Capacity:
    """A few sequences more than the batch, so that a place that comes free is taken in the engine's next step."""
    batch = plan.chosen.max_batch_size
    return Capacity(batch + max(1, batch // 8), plan.memory.kv_blocks, plan.memory.kv_block_tokens)
