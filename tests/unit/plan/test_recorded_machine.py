"""Plans on machines that were probed for real (tests/machines), as the planner gave them there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.planning import plan_any, plan_compiled

from stoker.errors import DoesNotFitError
from stoker.origin import Origin, Sourced
from stoker.plan.types import Overrides, Plan
from stoker.probe.description import load_description
from stoker.probe.machine import Machine

MACHINES = Path(__file__).parents[2] / "machines"
H200 = load_description(str(MACHINES / "h200.yaml"))
H100 = load_description(str(MACHINES / "h100.yaml"))
TWO_H100 = load_description(str(MACHINES / "h100-x2.yaml"))
# The same two while a process held 40 GiB of tensors on GPU 0 (with its CUDA context, and what it took of the host).
GPU_0_BUSY = replace(
    TWO_H100,
    cpu=replace(TWO_H100.cpu, memory_available=269145522176),
    gpus=(
        replace(TWO_H100.gpus[0], memory_free=41418948608, processes=1),
        replace(TWO_H100.gpus[1], memory_free=85014085632),
    ),
)


@pytest.fixture(scope="module")
def plan(profiles, model) -> Callable[..., Plan]:

    def planned(machine: Machine, name: str, goal: str = "throughput", available=None) -> Plan:
        overrides = Overrides(goal=Sourced(goal, Origin.FLAG, "--goal"))
        return plan_compiled(machine, model(name), overrides, available)

    return planned


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
    found = plan(H200, name)
    assert (found.chosen.profile, found.chosen.max_seq_len, found.chosen.devices) == (profile, context, (0,))
    assert found.memory.total <= found.memory.limit == 150109880320


@pytest.mark.parametrize(
    ("name", "profile", "batch"),
    [
        ("llama-3.2-1b", "tensorrt_llm-bf16-throughput", 256),
        ("llama-3.2-3b", "tensorrt_llm-bf16-throughput", 256),
        ("qwen2.5-7b", "tensorrt_llm-bf16-throughput", 256),
        ("llama-3.1-8b", "tensorrt_llm-bf16-throughput", 256),
        ("gemma-2-9b", "tensorrt_llm-bf16-throughput", 157),
        ("mistral-nemo-12b", "tensorrt_llm-bf16-throughput", 256),
        ("qwen3-32b", "tensorrt_llm_pytorch-bf16-throughput", 49),  # 125 GiB of host memory do not build its engine
        ("mixtral-8x7b", "tensorrt_llm_pytorch-fp8-throughput", 256),
        ("llama-3.1-70b", "tensorrt_llm_pytorch-fp8-throughput", 40),
    ],
)
def test_what_was_planned_on_one_h100(plan, name: str, profile: str, batch: int) -> None:
    chosen = plan(H100, name).chosen
    assert (chosen.profile, chosen.devices, chosen.max_batch_size) == (profile, (0,), batch)


@pytest.mark.parametrize("machine", [H100, H200])
def test_405b_does_not_fit_one_gpu(plan, machine: Machine) -> None:
    with pytest.raises(DoesNotFitError):
        plan(machine, "llama-3.1-405b")


def test_an_installation_without_gpu_engines_serves_from_the_cpu_and_says_why(plan) -> None:
    found = plan(H200, "llama-3.2-1b", available=frozenset({"openvino"}))
    assert found.chosen.engine == "openvino"
    assert "tensorrt_llm engines need TensorRT-LLM 1.2.1, which is not installed here" in found.reasons[0].text


def test_with_pytorch_alone_a_gpu_still_comes_before_the_cpu(profiles, model, tmp_path: Path) -> None:
    available = frozenset({"openvino", "torch"})
    plan = plan_any(H100, model("llama-3.1-8b"), Overrides(), available)
    assert (plan.chosen.engine, plan.chosen.precision, plan.chosen.devices) == ("torch", "bf16", (0,))
    assert "the last choice: tensorrt_llm engines need TensorRT-LLM 1.2.1" in plan.reasons[0].text
    assert "serving from the CPU" not in "".join(map(str, plan.reasons))
    assert plan.device_uuids == (H100.gpus[0].uuid,)


@pytest.mark.parametrize(
    ("name", "goal", "profile", "devices", "batch"),
    [
        ("llama-3.1-8b", "throughput", "tensorrt_llm-bf16-throughput", (0,), 256),
        ("llama-3.1-8b", "latency", "tensorrt_llm-bf16-latency", (0, 1), 32),
        ("llama-3.1-70b", "throughput", "tensorrt_llm_pytorch-bf16-throughput", (0, 1), 47),
        ("llama-3.1-70b", "latency", "tensorrt_llm_pytorch-bf16-latency", (0, 1), 24),
        ("mixtral-8x7b", "throughput", "tensorrt_llm-bf16-throughput", (0, 1), 256),
        ("mixtral-8x7b", "latency", "tensorrt_llm-bf16-latency", (0, 1), 32),
        ("qwen3-235b-a22b", "throughput", "tensorrt_llm_pytorch-int4_awq-throughput", (0, 1), 161),
        ("qwen3-235b-a22b", "latency", "tensorrt_llm_pytorch-int4_awq-latency", (0, 1), 32),
        ("llama-3.1-405b", "throughput", "openvino-int4-throughput", (), 128),  # 251 GiB of host memory hold it
    ],
)
def test_what_was_planned_on_two_h100(plan, name: str, goal: str, profile: str, devices, batch: int) -> None:
    chosen = plan(TWO_H100, name, goal).chosen
    assert (chosen.profile, chosen.devices, chosen.max_batch_size) == (profile, devices, batch)


@pytest.mark.parametrize(
    ("name", "goal", "profile", "devices", "batch"),
    [
        ("llama-3.1-8b", "latency", "tensorrt_llm-bf16-latency", (1,), 32),
        ("llama-3.1-70b", "throughput", "tensorrt_llm_pytorch-fp8-throughput", (1,), 40),
        ("mixtral-8x7b", "throughput", "tensorrt_llm-fp8-throughput", (1,), 256),
        ("qwen3-235b-a22b", "throughput", "openvino-int8-throughput", (), 66),
    ],
)
def test_what_was_planned_there_while_gpu_0_was_busy(plan, name: str, goal: str, profile: str, devices, batch) -> None:
    chosen = plan(GPU_0_BUSY, name, goal).chosen
    assert (chosen.profile, chosen.devices) == (profile, devices)
    assert chosen.max_batch_size == pytest.approx(batch, abs=2)  # the host's free memory moved between the probes


@pytest.mark.parametrize(
    ("recorded", "description"), [(H200, "1xH200"), (H100, "1xH100-80GB"), (TWO_H100, "2xH100-80GB")]
)
def test_the_built_in_descriptions_agree_with_the_real_cards(recorded: Machine, description: str) -> None:
    described = load_description(description)
    for real, ours in zip(recorded.gpus, described.gpus, strict=True):
        assert (ours.name, ours.compute_capability, ours.nvlink_peers) == (
            real.name,
            real.compute_capability,
            real.nvlink_peers,
        )
        assert ours.memory_total == pytest.approx(real.memory_total, rel=0.005)
