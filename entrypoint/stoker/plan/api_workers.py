"""How many processes answer the API, where the planner is to say."""

from __future__ import annotations

from stoker.plan.types import Plan, Reason
from stoker.plan.units import count_text

AUTO = None
MOST = 64
SEQUENCES_EACH = 384
"""One process keeps up with so many at 80 tokens/s each: docs/scaling.md has what was measured."""
_CORES_EACH = 4  # of the host, for one API process: engines, Triton and preparing prompts want the others


def api_workers(plan: Plan, asked: int | None) -> int:
    return _counted(plan)[0] if asked is AUTO else asked


def api_workers_reason(plan: Plan) -> Reason:
    count, why = _counted(plan)
    return Reason("api_workers", f"{count} API process{'es' if count > 1 else ''}: {why}")


def _counted(plan: Plan) -> tuple[int, str]:
    if not plan.chosen.devices:
        return 1, "the engine needs the processor's cores, and one process keeps up with it"
    sequences = plan.chosen.max_batch_size * len(plan.replicas)
    wanted = min(MOST, -(-sequences // SEQUENCES_EACH))
    text = f"{count_text(sequences)} concurrent sequences, of which one process keeps up with {SEQUENCES_EACH}"
    if not plan.machine.host_known:
        return wanted, f"{text}; a host with fewer than {wanted * _CORES_EACH} cores gets fewer"
    room = max(1, plan.machine.cpu.cores // _CORES_EACH)
    if wanted <= room:
        return wanted, text
    return room, f"{text}; of the {plan.machine.cpu.cores} cores each process is to have {_CORES_EACH}"
