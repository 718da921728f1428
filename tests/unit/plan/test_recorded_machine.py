"""Plans on a machine that was probed for real (tests/machines), as the planner gave them there."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.errors import DoesNotFitError
from stoker.plan.choose import choose_plan
from stoker.plan.nvidia.catalogue import load_nvidia
from stoker.plan.types import Wishes
from stoker.probe.description import load_description

H200 = str(Path(__file__).parents[2] / "machines" / "h200.yaml")


@pytest.fixture(scope="module")
def plan(profiles, model):
    nvidia = load_nvidia()
    machine = load_description(H200)
    return lambda name, available=None: choose_plan(machine, model(name), profiles, nvidia, Wishes(), available)


@pytest.mark.parametrize(
    ("name", "profile", "context"),
    [
        ("llama-3.2-1b", "tensorrt_llm-bf16-throughput", 32768),
        ("llama-3.1-8b", "tensorrt_llm-bf16-throughput", 32768),
        ("llama-3.1-70b", "tensorrt_llm_pytorch-fp8-throughput", 32768),
        ("qwen2.5-0.5b", "tensorrt_llm-bf16-throughput", 32768),
        ("qwen2.5-7b", "tensorrt_llm-bf16-throughput", 32768),
        ("qwen2.5-72b", "tensorrt_llm_pytorch-fp8-throughput", 32768),
        ("qwen3-30b-a3b", "tensorrt_llm-bf16-throughput", 32768),
        ("mixtral-8x7b", "tensorrt_llm_pytorch-bf16-throughput", 32768),
        ("gemma-2-9b", "tensorrt_llm-bf16-throughput", 8192),
    ],
)
def test_what_was_planned_on_one_h200(plan, name: str, profile: str, context: int) -> None:
    found = plan(name)
    assert (found.chosen.profile, found.chosen.max_seq_len, found.chosen.devices) == (profile, context, (0,))
    assert found.memory.total <= found.memory.limit == 150109880320


def test_405b_does_not_fit_one_h200(plan) -> None:
    with pytest.raises(DoesNotFitError):
        plan("llama-3.1-405b")


def test_an_installation_without_gpu_engines_serves_from_the_cpu_and_says_why(plan) -> None:
    found = plan("llama-3.2-1b", frozenset({"openvino"}))
    assert found.chosen.engine == "openvino"
    assert "tensorrt_llm engines need the NVIDIA image" in found.reasons[0]


def test_the_built_in_description_agrees_with_the_real_card() -> None:
    (real,), (described,) = load_description(H200).gpus, load_description("1xH200").gpus
    assert (described.name, described.compute_capability) == (real.name, real.compute_capability)
    assert described.memory_total == pytest.approx(real.memory_total, rel=0.005)
