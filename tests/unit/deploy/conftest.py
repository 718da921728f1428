"""Deployments of published models on described machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.planning import plan_any

from stoker.deploy.deployment import make_deployment
from stoker.deploy.sizing import size
from stoker.deploy.types import Deployment
from stoker.kinds import kind_named
from stoker.origin import Origin, Sourced
from stoker.plan.types import Overrides, Plan
from stoker.probe.description import load_description
from stoker.resolve.facts import architecture_facts
from stoker.resolve.model import Model
from stoker.resolve.weights import computed_weights

CONFIGS = Path(__file__).parents[1] / "configs"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DRAIN = 30.0


def model_of(name: str) -> Model:
    config = json.loads((CONFIGS / f"{name}.json").read_text())
    architecture = architecture_facts(config)
    weights = computed_weights(config, architecture, None)
    return Model(f"org/{name}", f"org/{name}", COMMIT, architecture, weights, config)


def plan_for(model: str, machine: str, **given: Any) -> Plan:
    overrides = {name: Sourced(value, Origin.FLAG, name) for name, value in given.items()}
    return plan_any(load_description(machine), model_of(model), Overrides(**overrides))


@pytest.fixture(scope="session")
def deployment() -> Callable[..., Deployment]:
    """`deployment("llama-3.1-8b", "1xH100-80GB", replicas=2, reference="/a/directory")`."""

    def deployment(
        model: str,
        machine: str,
        *,
        reference: str = "",
        drain: float = DRAIN,
        given: tuple[str, ...] = (),
        **options: Any,
    ) -> Deployment:
        plan = plan_for(model, machine)
        if reference:
            plan = replace(plan, model=replace(plan.model, reference=reference))
        part = kind_named(plan.chosen.engine).deploy
        sizing = size(plan, part, drain)
        return make_deployment(plan, part, sizing, given, **{"port": 8000, **options})

    return deployment
