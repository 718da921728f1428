"""One model over several machines."""

from __future__ import annotations

import pytest

from stoker.errors import StokerError, UsageError
from stoker.kinds import plan_kinds
from stoker.kinds.vllm.arguments import engine_arguments
from stoker.plan.planner import make_plan
from stoker.plan.render import command_line, render_plan
from stoker.probe.description import dump_description, load_description


def spread(model, overrides, machine: str, name: str, **given):
    return make_plan(load_description(machine), model(name), plan_kinds(), overrides(**given))


def test_a_description_of_several_machines_lists_their_gpus_and_ends_nvlink_at_each():
    machine = load_description("2x(4xH100-80GB)")
    assert (machine.nodes, len(machine.gpus), machine.gpus_of_each) == (2, 8, 4)
    assert machine.gpus[5].nvlink_peers == (4, 6, 7)
    with pytest.raises(UsageError, match="not understood"):
        load_description("2x(4xZ9000)")


def test_a_description_of_several_machines_can_be_written_down(tmp_path):
    machine = load_description("2x(8xH100-80GB)")
    path = tmp_path / "two.yaml"
    path.write_text(dump_description(machine))
    assert load_description(str(path)) == machine


def test_what_one_machine_does_not_hold_is_spread_with_whole_stages_on_each(model, overrides):
    plan = spread(model, overrides, "2x(8xH100-80GB)", "llama-3.1-405b", precision="bf16", engine="vllm")
    chosen = plan.chosen
    assert (chosen.nodes, chosen.tensor_parallel, chosen.pipeline_parallel) == (2, 8, 2)
    assert chosen.devices == tuple(range(8))
    reasons = {reason.code: reason.text for reason in plan.reasons}
    assert reasons["machines"] == (
        "2 machines, 1 pipeline stage of 8 GPUs on each: layers follow one another from machine to machine, and no "
        "layer is shared across the network"
    )
    # 16,384 values of 16 bits; shared, two reductions of them in each of 126 layers.
    assert reasons["network"] == (
        "network: 32,768 bytes per token from each machine to the next (8,257,536 if layers were shared across it); "
        "a full step of 2,048 tokens sends 64.0 MiB: 21.5 ms at 25 Gb/s and 1.3 ms at 400 Gb/s"
    )
    assert command_line(plan).endswith("--nodes 2") or "--nodes 2 " in command_line(plan)
    assert "16 of 16 GPUs" in render_plan(plan)


def test_a_model_that_one_machine_holds_stays_on_one_unless_the_user_says_otherwise(model, overrides):
    plan = spread(model, overrides, "2x(8xH100-80GB)", "llama-3.1-8b")
    assert plan.chosen.nodes == 1
    assert all(max(replica.devices) < 8 for replica in plan.replicas)
    assert "one machine holds it" in {reason.code: reason.text for reason in plan.reasons}["machines"]
    asked = spread(model, overrides, "2x(8xH100-80GB)", "llama-3.1-8b", nodes=2)
    assert (asked.chosen.nodes, asked.chosen.pipeline_parallel) == (2, 2)


def test_an_engine_of_one_machine_is_not_spread(model, overrides):
    with pytest.raises(StokerError):
        spread(model, overrides, "2x(8xH100-80GB)", "llama-3.1-405b", precision="bf16", engine="tensorrt_llm")


def test_vllm_is_told_which_machine_it_is_on(model, overrides):
    chosen = spread(model, overrides, "2x(1xH100-80GB)", "llama-3.1-8b", nodes=2).chosen
    given = engine_arguments(chosen, 1 << 30)
    assert (given["nnodes"], given["node_rank"], given["distributed_executor_backend"]) == (2, 0, "mp")


@pytest.mark.parametrize(
    ("machine", "given", "layout"),
    [
        ("2x(1xH100-80GB)", {}, "2 machines, 1 pipeline stage of 1 GPU on each: "),
        ("2x(4xH100-80GB)", {"tensor_parallel": 2, "pipeline_parallel": 4}, "2 machines, 2 pipeline stages of 2 GPUs "),
    ],
)
def test_a_plan_says_how_layers_lie_on_machines(model, overrides, machine, given, layout):
    plan = spread(model, overrides, machine, "llama-3.1-8b", nodes=2, engine="vllm", **given)
    assert {reason.code: reason.text for reason in plan.reasons}["machines"].startswith(layout)
