"""Models, plans and orders to make command lines from; conftest.py and test_commands.py load it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.planning import plan_compiled

from stoker.errors import DoesNotFitError
from stoker.kinds.tensorrt_llm.build.commands import Order
from stoker.kinds.tensorrt_llm.plan.catalogue import load_nvidia
from stoker.kinds.tensorrt_llm.plan.host import ranks_at_once
from stoker.origin import Origin, Sourced
from stoker.plan.types import Overrides, Plan
from stoker.probe.description import load_description
from stoker.resolve.facts import architecture_facts, quantization_facts
from stoker.resolve.model import Model
from stoker.resolve.weights import computed_weights

NVIDIA = load_nvidia()
CONFIGS = Path(__file__).parents[2] / "configs"


def model_of(name: str, quantization: dict[str, Any] | None = None) -> Model:
    config = json.loads((CONFIGS / f"{name}.json").read_text())
    if quantization:
        config["quantization_config"] = quantization
    architecture, found = architecture_facts(config), quantization_facts(config)
    return Model(
        f"org/{name}", name, "abc", architecture, computed_weights(config, architecture, found), config,
        quantization=found,
    )  # fmt: skip


def plan_of(model: Model, machine: str, **given: Any) -> Plan:
    """On a machine with enough of a host. Raises what the planner refuses it with."""
    overrides = Overrides(**{name: Sourced(value, Origin.FLAG, f"--{name}") for name, value in given.items()})
    here = load_description(f"{machine},cpu:64c-2000g")
    plan = plan_compiled(here, model, overrides, frozenset({"tensorrt_llm"}))
    if plan.chosen.engine != "tensorrt_llm":
        raise DoesNotFitError(plan.reasons[0].text)
    return plan


def order_of(plan: Plan) -> Order:
    chosen = plan.chosen
    converter = NVIDIA.converters[plan.model.architecture.name]
    kind = NVIDIA.kinds["tensorrt_llm"]
    ranks = chosen.tensor_parallel * chosen.pipeline_parallel
    workers = ranks_at_once(kind, plan.machine, plan.model, ranks)
    return Order(
        plan.model, chosen, converter, workers, (chosen.kv_precision, chosen.precision) not in kind.without_paging
    )
