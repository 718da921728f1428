"""What a server is given must be what its plan takes: within it, planning gives the same plan again."""

from dataclasses import replace
from typing import Any

import pytest
from tests.planning import plan_compiled

from stoker.deploy.deployment import image_for
from stoker.deploy.sizing import size
from stoker.errors import UsageError
from stoker.kinds import kind_named
from stoker.origin import Origin, Sourced
from stoker.plan.types import Overrides

MIB = 1 << 20
HELD_AT_PROBE = 128 * MIB  # a little more than the API process has when it probes

ON_CPUS = [
    ("smollm2-135m", "cpu:4c-8g-avx512_bf16"),
    ("qwen2.5-0.5b", "cpu:8c-16g"),
    ("llama-3.2-3b", "cpu:16c-16g-avx512_bf16"),
    ("llama-3.1-8b", "cpu:32c-64g-amx_bf16"),
    ("qwen2.5-7b", "cpu:8c-12g"),
    ("gemma-3-1b", "cpu:2c-6g"),
]
ON_GPUS = [
    ("llama-3.1-8b", "1xH100-80GB"),
    ("qwen2.5-72b", "4xH100-80GB"),
    ("llama-3.1-70b", "8xH200"),
    ("qwen2.5-7b", "1xL4,cpu:16c-64g"),
]


@pytest.mark.parametrize(("model", "machine"), ON_CPUS)
def test_a_container_of_that_size_makes_the_same_plan(model, machine, deployment):
    server = deployment(model, machine)
    plan, limit = server.plan, server.sizing.memory.value
    cpu = replace(plan.machine.cpu, memory_limit=limit, memory_available=limit - HELD_AT_PROBE)
    flags = dict(argument.removeprefix("--").split("=", 1) for argument in server.arguments[1:])
    given = {name.replace("-", "_"): value for name, value in flags.items() if name != "drain-timeout"}
    values: dict[str, Any] = {name: int(value) if value.isdigit() else value for name, value in given.items()}
    overrides = Overrides(**{name: Sourced(value, Origin.FLAG, name) for name, value in values.items()})
    inside = replace(plan.machine, cpu=replace(cpu, cores=server.sizing.cores.value))
    again = plan_compiled(inside, plan.model, overrides)
    assert again.chosen == plan.chosen
    assert plan.memory.kv.blocks <= again.memory.kv.blocks <= 1.05 * plan.memory.kv.blocks


@pytest.mark.parametrize(("model", "machine"), ON_CPUS)
def test_a_cpu_server_asks_for_no_more_than_the_machine_has(model, machine, deployment):
    server = deployment(model, machine)
    sizing, cpu = server.sizing, server.plan.machine.cpu
    assert server.plan.memory.total < sizing.memory.value <= cpu.memory_available + 256 * MIB
    assert sizing.cores.value == cpu.cores
    assert sizing.cores_limited
    assert sizing.gpus.value == 0


@pytest.mark.parametrize(("model", "machine"), ON_GPUS)
def test_a_gpu_server_has_room_to_build(model, machine, deployment):
    server = deployment(model, machine)
    sizing, plan = server.sizing, server.plan
    half_precision = 2 * plan.model.weights.parameters
    each = plan.chosen.tensor_parallel * plan.chosen.pipeline_parallel
    assert sizing.gpus.value == len(plan.replicas) * each > 0
    assert sizing.memory.value >= 2.2 * half_precision + sizing.shared_memory.value
    assert sizing.cache.value >= plan.model.weights.total_bytes + 2 * plan.memory.weights * each
    assert not sizing.cores_limited


@pytest.mark.parametrize(("model", "machine"), [*ON_CPUS, *ON_GPUS])
def test_the_rest_follows_the_plan(model, machine, deployment):
    server = deployment(model, machine)
    sizing, plan = server.sizing, server.plan
    tokens = plan.chosen.max_batch_size * plan.chosen.max_seq_len
    assert sizing.shared_memory.value >= (512 << 20) + 4 * tokens
    assert sizing.cache.value >= plan.model.weights.total_bytes + 2 * plan.memory.weights
    assert sizing.startup.value > plan.model.weights.total_bytes / 50e6
    assert sizing.startup.value < 5 * 3600
    assert all(each.why for each in vars(sizing).values() if not isinstance(each, bool))


def test_on_a_unified_machine_the_gpus_memory_counts_once(deployment):
    server = deployment("llama-3.2-1b", "1xGB10")
    assert server.plan.memory.total <= server.sizing.memory.value - server.sizing.shared_memory.value
    assert server.sizing.memory.value < 1.1 * server.plan.memory.total


def test_a_kind_that_builds_nothing_is_sized_from_its_budget(deployment):
    cpu, gpu = deployment("qwen2.5-0.5b", "cpu:8c-16g").plan, deployment("llama-3.1-8b", "1xH100-80GB").plan
    part = kind_named("torch").deploy
    on_cpu, on_gpu = (size(plan, part, 30.0) for plan in (cpu, gpu))
    assert on_cpu.memory.value >= cpu.memory.total / 0.9
    assert on_gpu.memory.value >= 2 * gpu.model.weights.parameters
    with pytest.raises(UsageError, match="no image has the openvino engine for CPUs"):
        image_for(cpu, part.images)


def test_a_longer_drain_has_a_longer_grace(deployment):
    short, long = (deployment("qwen2.5-0.5b", "cpu:4c-8g", drain=drain) for drain in (30.0, 300.0))
    assert long.sizing.grace.value - short.sizing.grace.value == 270


def test_several_gpus_get_shared_memory_for_their_exchange(deployment):
    one, four = deployment("qwen2.5-7b", "1xH100-80GB"), deployment("qwen2.5-72b", "4xH100-80GB")
    tokens = [8 * server.plan.chosen.max_batch_size * server.plan.chosen.max_seq_len for server in (one, four)]
    assert (one.sizing.gpus.value, four.sizing.gpus.value) == (1, 4)
    assert four.sizing.shared_memory.value - one.sizing.shared_memory.value >= (2 << 30) + 2 * tokens[1] - tokens[0]


@pytest.mark.parametrize(("machine", "more_cores"), [("cpu:8c-16g", 0), ("1xH100-80GB", 4)])
def test_api_processes_have_memory_and_beside_a_gpu_cores_of_their_own(deployment, machine, more_cores):
    plan = deployment("qwen2.5-0.5b", machine).plan
    part = kind_named(plan.chosen.engine).deploy
    one, four = (size(plan, part, 30, count) for count in (1, 4))
    assert four.memory.value - one.memory.value == 4 * 128 * MIB
    assert four.memory.why.endswith("and 512.0 MiB for 4 API processes")
    assert four.cores.value - one.cores.value == more_cores
