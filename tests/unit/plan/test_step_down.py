"""What is left to try with an engine that dies at load."""

from __future__ import annotations

from dataclasses import replace

from stoker.plan.step_down import stepped_down
from stoker.plan.types import Chosen, MemoryBudget, Plan
from stoker.probe.machine import Cpu, Machine
from stoker.resolve.model import Architecture, Model, Weights

CPU = Cpu("x86_64", "A processor", 4, None, 1 << 34, 1 << 34, 1 << 33, ("avx2",))
MODEL = Model("m", "m", "r", Architecture("L", "llama", 1, 64, 64, 1, 1, 64, 256, 2048), Weights(1, {}), {})
CHOSEN = Chosen("p", "openvino", "int8", "u8", "f32", 1, 1, (), 16, 256, 1024, 4)
MEMORY = MemoryBudget(100, 10, 10, 256 * 32 * 2, 2, 32, 256, 1 << 30)
PLAN = Plan(Machine("here", CPU), MODEL, CHOSEN, MEMORY, (), ("first",), ())


def test_half_the_batch_and_half_the_cache() -> None:
    smaller = stepped_down(PLAN)
    assert smaller is not None
    assert (smaller.chosen.max_batch_size, smaller.memory.kv_blocks) == (8, 128)
    assert smaller.memory.kv_cache == MEMORY.kv_cache // 2
    assert smaller.memory.total < PLAN.memory.total
    assert smaller.reasons == ("first", "the engine died repeatedly: 8 sequences at once instead of 16, 128 KV blocks")
    assert replace(smaller.chosen, max_batch_size=16) == CHOSEN


def test_it_ends_at_one_longest_sequence() -> None:
    plans, plan = [], PLAN
    while (smaller := stepped_down(plan)) is not None:
        plans.append((smaller.chosen.max_batch_size, smaller.memory.kv_blocks))
        plan = smaller
    assert plans == [(8, 128), (4, 64), (2, 32), (1, 32)]
    assert plans[-1][1] * MEMORY.kv_block_tokens >= CHOSEN.max_seq_len
