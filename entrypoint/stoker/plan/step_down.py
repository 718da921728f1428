"""What is left to try with an engine that dies at load: the same engine, driven less hard."""

from __future__ import annotations

from dataclasses import replace

from stoker.plan.types import Plan, Reason


def stepped_down(plan: Plan, why: str) -> Plan | None:
    """Half as many concurrent sequences and half the KV cache, but never less than one longest sequence needs.

    `why` goes into the plan's reasons. Both are launch limits for every kind: a compiled engine runs with fewer
    sequences than it was built for. None where nothing is left to halve.
    """
    chosen, memory = plan.chosen, plan.memory
    least = -(-chosen.max_seq_len // max(1, memory.kv.block_tokens))
    blocks = max(memory.kv.blocks // 2, min(memory.kv.blocks, least))
    batch = max(1, chosen.max_batch_size // 2)
    if (batch, blocks) == (chosen.max_batch_size, memory.kv.blocks):
        return None
    smaller = replace(memory, kv=replace(memory.kv, blocks=blocks))
    less = f"batch size {batch} instead of {chosen.max_batch_size}, {blocks} KV blocks"
    reasons = (*plan.reasons, Reason("step_down", f"{why}: {less}"))
    return replace(plan, chosen=replace(chosen, max_batch_size=batch), memory=smaller, reasons=reasons)
