"""How many API processes a plan asks for, where the planner is to say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.planning import plan_any, plan_compiled

from stoker.errors import UsageError
from stoker.plan.api_workers import AUTO, MOST, api_workers, api_workers_reason
from stoker.probe.description import load_description
from stoker.settings.layers import load_settings


def on(machine: Any, model: Any, overrides: Any, cores: int | None = None) -> Any:
    """An 8B model there; of a host with so many cores, where they are known."""
    here = load_description(machine)
    if cores is not None:
        here = replace(here, cpu=replace(here.cpu, name="Test", cores=cores))
    return plan_compiled(here, model("llama-3.1-8b"), overrides(max_batch_size=256))


@pytest.mark.parametrize(
    ("machine", "cores", "expected", "why"),
    [
        ("1xH100-80GB", 64, 1, "256 concurrent sequences, of which one process keeps up with 384"),
        ("8xH100-80GB", 64, 6, "2,048 concurrent sequences, of which one process keeps up with 384"),
        ("8xH100-80GB", 16, 4, "2,048 concurrent sequences, of which one process keeps up with 384; of the 16 cores"),
        ("8xH100-80GB", 2, 1, "of the 2 cores each process is to have 4"),
        ("8xH100-80GB", None, 6, "a host with fewer than 24 cores gets fewer"),
    ],
)
def test_as_many_as_the_sequences_need_and_the_cores_allow(
    model: Any, overrides: Any, machine: str, cores: int | None, expected: int, why: str
) -> None:
    plan = on(machine, model, overrides, cores)
    assert api_workers(plan, AUTO) == expected
    reason = api_workers_reason(plan)
    assert reason.code == "api_workers"
    assert reason.text.startswith(f"{expected} API process{'es' if expected > 1 else ''}: ")
    assert why in reason.text


def test_what_is_asked_for_is_taken(model: Any, overrides: Any) -> None:
    assert api_workers(on("8xH100-80GB", model, overrides), 3) == 3


def test_one_beside_an_engine_on_the_processor(model: Any, overrides: Any, machine: Any) -> None:
    plan = plan_any(machine(16), model("qwen2.5-0.5b"), overrides())
    assert api_workers(plan, AUTO) == 1
    assert "the engine needs the processor's cores" in api_workers_reason(plan).text


@pytest.mark.parametrize("given", ["0", "-1", str(MOST + 1), "two"])
def test_numbers_that_are_none_are_refused(given: str) -> None:
    with pytest.raises(UsageError, match="api-workers"):
        load_settings({"api-workers": given}, {})
