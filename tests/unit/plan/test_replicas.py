"""How many copies of an engine a machine gets, where each runs, and the reasons that the plan gives."""

import dataclasses
from dataclasses import replace

import pytest
from tests.planning import plan_compiled

from stoker.errors import DoesNotFitError, UsageError
from stoker.plan.render import command_line, plan_document, render_plan
from stoker.plan.replicas import replicas_of
from stoker.probe.description import load_description
from stoker.probe.machine import Cpu, Machine, Node

GIB = 1024**3


@pytest.fixture
def choose(model, overrides):
    def choose(name, machine, **given):
        here = load_description(machine) if isinstance(machine, str) else machine
        return plan_compiled(here, model(name), overrides(**given))

    return choose


def devices(plan):
    return [replica.devices for replica in plan.replicas]


def reason(plan, code):
    return next((line.text for line in plan.reasons if line.code == code), "")


def with_islands(text, *islands):
    here = load_description(text)
    peers = {index: tuple(peer for peer in island if peer != index) for island in islands for index in island}
    return replace(here, gpus=tuple(replace(gpu, nvlink_peers=peers[gpu.index]) for gpu in here.gpus))


def two_sockets(memory, cores=16):
    half = cores // 2
    nodes = (
        Node(0, tuple(range(half)), memory * GIB // 2),
        Node(1, tuple(range(half, cores)), memory * GIB // 2),
    )
    size = memory * GIB
    isa = ("avx2", "avx512", "avx512_vnni", "avx512_bf16")
    return Machine("two sockets", Cpu("x86_64", "Test", cores, None, size, size, size, isa, 2, cores, nodes))


def test_every_free_gpu_serves(choose):
    plan = choose("llama-3.1-8b", "4xH100-80GB")
    assert devices(plan) == [(0,), (1,), (2,), (3,)]
    assert plan.chosen.devices == (0,)
    assert reason(plan, "replicas").startswith("4 replicas of 1 GPU each: ")
    assert not reason(plan, "idle")
    assert "replicas" in render_plan(plan)
    assert plan_document(plan)["replicas"][3] == {"devices": [3], "cpus": [], "nodes": []}


def test_one_gpu_is_one_replica_without_a_word_about_it(choose):
    plan = choose("llama-3.1-8b", "1xH100-80GB")
    assert devices(plan) == [(0,)]
    assert not reason(plan, "replicas")
    assert "--replicas" not in command_line(plan)


def test_several_replicas_have_the_limits_of_one(choose):
    one, four = choose("llama-3.1-8b", "1xH100-80GB"), choose("llama-3.1-8b", "4xH100-80GB")
    assert four.chosen == one.chosen
    assert four.memory == one.memory


def test_replicas_of_several_gpus_stay_within_islands(choose):
    here = with_islands("8xH100", (0, 3), (1, 2), (4, 7), (5, 6))
    plan = choose("llama-3.1-70b", here)
    assert plan.chosen.tensor_parallel == 2
    assert sorted(devices(plan)) == [(0, 3), (1, 2), (4, 7), (5, 6)]
    assert reason(plan, "replicas") == (
        "4 replicas of 2 GPUs each, each within GPUs that NVLink joins: all free GPUs are used, in groups that hold "
        "the model"
    )


def test_what_is_left_of_an_island_is_named(choose):
    plan = choose("llama-3.1-70b", with_islands("5xH100", (0, 1, 2), (3, 4)))
    assert sorted(devices(plan)) == [(0, 1), (3, 4)]
    assert reason(plan, "idle") == "1 GPU is unused: a replica takes 2 that work together"


def test_for_latency_the_gpus_that_shorten_steps_no_more_are_replicas(choose):
    plan = choose("llama-3.1-8b", "8xH100", goal="latency")
    tensor = plan.chosen.tensor_parallel
    assert 1 < tensor < 8
    assert len(plan.replicas) * tensor == 8
    assert "shorten its steps too little" in reason(plan, "replicas")
    assert len(choose("llama-3.1-70b", "4xH100", goal="latency").replicas) == 1


def test_the_user_s_number_is_followed(choose):
    plan = choose("llama-3.1-8b", "4xH100", replicas=2)
    assert len(plan.replicas) == 2
    assert "asked for by flag --replicas" in reason(plan, "replicas")
    assert reason(plan, "idle").startswith("2 GPUs are unused")
    assert "--replicas 2" in command_line(plan)


@pytest.mark.parametrize(("name", "replicas", "most"), [("llama-3.1-8b", 5, 4), ("llama-3.1-70b", 3, 2)])
def test_more_than_there_is_room_for_names_the_largest_number(choose, name, replicas, most):
    with pytest.raises(DoesNotFitError) as caught:
        choose(name, "4xH100", replicas=replicas, precision="bf16")
    assert f"--replicas {replicas} is not available" in caught.value.what
    assert caught.value.remedy == f"the largest that fits: {most}"


def test_no_replica_is_refused(choose):
    with pytest.raises(UsageError, match="at least 1"):
        choose("llama-3.1-8b", "4xH100", replicas=0)


def test_a_gpu_with_less_free_memory_sets_the_limits_of_all(choose):
    here = load_description("2xH100")
    fuller = replace(here.gpus[1], memory_free=here.gpus[1].memory_free - GIB)
    plan = choose("llama-3.1-8b", replace(here, gpus=(here.gpus[0], fuller)))
    assert len(plan.replicas) == 2
    assert plan.memory.total <= plan.memory.limit <= fuller.memory_free


def test_each_numa_node_has_a_replica_with_its_cores_and_memory(choose):
    here = two_sockets(64)
    plan, whole = choose("llama-3.1-8b", here), choose("llama-3.1-8b", here, replicas=1)
    assert [replica.cpus for replica in plan.replicas] == [tuple(range(8)), tuple(range(8, 16))]
    assert [replica.nodes for replica in plan.replicas] == [(0,), (1,)]
    assert (plan.chosen.threads, whole.chosen.threads) == (8, 16)
    assert plan.memory.limit <= 32 * GIB < whole.memory.limit
    assert plan.chosen.precision == whole.chosen.precision
    assert "one for each NUMA node" in reason(plan, "replicas")


def test_a_model_too_large_for_a_node_is_one_replica_over_all(choose):
    plan = choose("llama-3.1-70b", two_sockets(128))
    assert len(plan.replicas) == 1
    assert plan.chosen.threads == 16
    assert "one node's memory does not hold it" in reason(plan, "replicas")


def test_described_nodes_have_no_numbered_cores(choose):
    here = two_sockets(64)
    plan = choose("llama-3.1-8b", replace(here, cpu=replace(here.cpu, nodes=())))
    assert [replica.cpus for replica in plan.replicas] == [(), ()]
    assert plan.chosen.threads == 8


@pytest.mark.parametrize("count", range(1, 12))
@pytest.mark.parametrize("nodes", [(4,), (4, 4), (2, 3, 4), (1, 1, 1, 1)])
def test_every_core_has_a_replica_and_every_replica_cores(nodes, count):
    numbers = iter(range(sum(nodes)))
    found = tuple(Node(index, tuple(next(numbers) for _ in range(size))) for index, size in enumerate(nodes))
    cpu = Cpu("x86_64", "Test", sum(nodes), None, GIB, GIB, GIB, (), len(nodes), 0, found)
    replicas = replicas_of(cpu, count)
    assert len(replicas) == count
    if count == 1:
        assert replicas[0].cpus == ()
        return
    used = [cpu for replica in replicas for cpu in replica.cpus]
    assert all(replica.cpus for replica in replicas)
    if count <= min(nodes):
        assert sorted(used) == list(range(sum(nodes)))
    homes = {number: node.id for node in found for number in node.cpus}
    assert all({homes[number] for number in one.cpus} <= set(one.nodes) for one in replicas)


def test_a_quota_counts_for_all_replicas_together(choose):
    here = two_sockets(64)
    plan = choose("llama-3.1-8b", replace(here, cpu=replace(here.cpu, cores=6, core_quota=6.0)))
    assert plan.chosen.threads == 3


def test_equal_questions_have_equal_plans(choose):
    first, second = (choose("llama-3.1-8b", "8xH100", goal="latency") for _ in range(2))
    assert dataclasses.asdict(first) == dataclasses.asdict(second)


@pytest.mark.parametrize(
    ("machine", "given", "line"),
    [
        ("1xH100-80GB", {}, "GPU 0"),
        ("2xH100-80GB", {}, "GPUs 0-1, 2 replicas"),
        ("2xH100-80GB", {"tensor_parallel": 2}, "GPUs 0-1, tensor parallel 2 (flag --tensor-parallel)"),
        ("4xH100-80GB", {"tensor_parallel": 2}, "GPUs 0-3, tensor parallel 2, 2 replicas (flag --tensor-parallel)"),
    ],
)
def test_the_summary_names_the_gpus(choose, machine, given, line):
    (shown,) = [one for one in render_plan(choose("llama-3.1-8b", machine, **given)).splitlines() if "Devices" in one]
    assert shown.split(maxsplit=1)[1] == line


def with_used(text, used):
    """`used`: GiB of each GPU's memory that others have."""
    here = load_description(text)
    gpus = (replace(gpu, memory_free=gpu.memory_total - held * GIB) for gpu, held in zip(here.gpus, used, strict=True))
    return replace(here, gpus=tuple(gpus))


@pytest.mark.parametrize(
    ("used", "taken"), [((0, 0), [(0,), (1,)]), ((3, 3), [(0,), (1,)]), ((0, 7), [(0,)]), ((7, 0), [(1,)])]
)
def test_one_engine_takes_the_gpu_that_alone_has_room(choose, used, taken):
    """70 GB of weights fit on what an idle one has free."""
    plan = choose("llama-3.1-70b", with_used("2xH100-80GB", used), precision="fp8", tensor_parallel=1)
    assert devices(plan) == taken
