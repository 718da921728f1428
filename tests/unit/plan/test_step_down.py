"""What is left to try with an engine that dies at load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stoker import chain
from stoker.chain import following_plan, make_plan_for
from stoker.plan.step_down import stepped_down
from stoker.plan.types import Chosen, KvPool, MemoryBudget, Plan, Reason
from stoker.probe.description import load_description
from stoker.probe.machine import Cpu, Machine
from stoker.progress import Silent
from stoker.resolve.model import Architecture, Model, Weights
from stoker.settings.layers import load_settings

CPU = Cpu("x86_64", "A processor", 4, None, 1 << 34, 1 << 34, 1 << 33, ("avx2",))
MODEL = Model("m", "m", "r", Architecture("L", "llama", 1, 64, 64, 1, 1, 64, 256, 2048), Weights(1, {}), {})
CHOSEN = Chosen("p", "openvino", "text", "int8", "u8", "f32", 1, 1, (), 16, 256, 1024, 4)
FIRST = Reason("first", "first")
MEMORY = MemoryBudget(100, 10, 10, KvPool(256, 32, 2), 1 << 30)
PLAN = Plan(Machine("here", CPU), MODEL, CHOSEN, MEMORY, (), (FIRST,), ())


def test_half_the_batch_and_half_the_cache() -> None:
    smaller = stepped_down(PLAN, "it died")
    assert smaller is not None
    assert (smaller.chosen.max_batch_size, smaller.memory.kv.blocks) == (8, 128)
    assert smaller.memory.kv.bytes == MEMORY.kv.bytes // 2
    assert smaller.memory.total < PLAN.memory.total
    assert smaller.reasons == (FIRST, Reason("step_down", "it died: batch size 8 instead of 16, 128 KV blocks"))
    assert replace(smaller.chosen, max_batch_size=16) == CHOSEN


def test_it_ends_at_one_longest_sequence() -> None:
    plans, plan = [], PLAN
    while (smaller := stepped_down(plan, "it died")) is not None:
        plans.append((smaller.chosen.max_batch_size, smaller.memory.kv.blocks))
        plan = smaller
    assert plans == [(8, 128), (4, 64), (2, 32), (1, 32)]
    assert plans[-1][1] * MEMORY.kv.block_tokens >= CHOSEN.max_seq_len


def profiles_in_turn(tmp_path: Path, machine: str, **flags: str) -> list[Plan]:
    """Each plan that is tried when all before it have been given up."""
    settings = load_settings({"model": "demo", "cache": str(tmp_path), **flags}, {})
    here = load_description(machine)
    plans = [make_plan_for(settings, Silent(), machine=here)]
    while following := following_plan(plans[-1], settings, [plan.chosen.profile for plan in plans]):
        plans.append(following)
    return plans


def test_after_the_smallest_limits_comes_the_next_profile_unless_the_user_chose(tmp_path: Path) -> None:
    here = "cpu:8c-16g-avx512_bf16"
    assert [plan.chosen.precision for plan in profiles_in_turn(tmp_path, here)] == ["int8", "int4"]
    for flags in ({"precision": "int8"}, {"profile": "openvino-int8-throughput"}):
        assert [plan.chosen.precision for plan in profiles_in_turn(tmp_path, here, **flags)] == ["int8"]


def test_what_gpus_were_to_serve_is_not_left_to_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "available_kinds", lambda: frozenset({"openvino", "tensorrt_llm"}))
    plans = profiles_in_turn(tmp_path, "1xH100,cpu:8c-64g-avx512_bf16")
    names = [plan.chosen.profile for plan in plans]
    assert len(names) > 1
    assert len(set(names)) == len(names)
    assert all(plan.chosen.engine == "tensorrt_llm" and plan.chosen.devices == (0,) for plan in plans)


def test_what_was_given_up_is_said_first_and_not_planned_again(tmp_path: Path) -> None:
    settings = load_settings({"model": "demo", "cache": str(tmp_path)}, {})
    given_up = {"openvino-int8-throughput": "openvino-int8-throughput was given up: it died"}
    plan = make_plan_for(settings, Silent(), machine=load_description("cpu:8c-16g"), given_up=given_up)
    assert plan.chosen.precision == "int4"
    assert plan.reasons[0].text == given_up["openvino-int8-throughput"]
