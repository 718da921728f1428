"""Machines, models of published configurations, and overrides, to plan with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from stoker.kinds.openvino.plan.catalogue import load_catalogue
from stoker.kinds.openvino.plan.kind import openvino
from stoker.kinds.openvino.plan.profile import OpenvinoProfile
from stoker.origin import Origin, Sourced
from stoker.plan.planner import make_plan
from stoker.plan.types import Overrides, Plan
from stoker.probe.machine import Cpu, Gpu, Machine
from stoker.resolve.facts import architecture_facts
from stoker.resolve.model import Model, Quantization
from stoker.resolve.weights import computed_weights

GIB = 1024**3
CONFIGS = Path(__file__).parents[1] / "configs"
MODERN = ("avx2", "avx512", "avx512_vnni", "avx512_bf16")


def build_machine(memory: float, cores: int = 8, isa: tuple[str, ...] = MODERN, gpus: int = 0) -> Machine:
    size = int(memory * GIB)
    cpu = Cpu("x86_64", "Test CPU", cores, None, size, size, size, isa)
    found = (Gpu(index, f"GPU-{index}", "Test GPU", "0", 80 * GIB, 79 * GIB, (9, 0)) for index in range(gpus))
    return Machine("test", cpu, tuple(found))


def build_model(name: str, changes: Mapping[str, Any] | None = None, quantization: Quantization | None = None) -> Model:
    config = {**json.loads((CONFIGS / f"{name}.json").read_text()), **(changes or {})}
    architecture = architecture_facts(config)
    weights = computed_weights(config, architecture, quantization)
    return Model(f"org/{name}", f"org/{name}", "abc123", architecture, weights, config, quantization=quantization)


def build_overrides(**values: Any) -> Overrides:
    return Overrides(
        **{name: Sourced(value, Origin.FLAG, f"--{name.replace('_', '-')}") for name, value in values.items()}
    )


@pytest.fixture(scope="session")
def profiles() -> tuple[OpenvinoProfile, ...]:
    """Of text models on CPUs."""
    return tuple(profile for profile in load_catalogue() if "text" in profile.purposes)


@pytest.fixture(scope="session")
def machine() -> Callable[..., Machine]:
    return build_machine


@pytest.fixture(scope="session")
def model() -> Callable[..., Model]:
    return build_model


@pytest.fixture(scope="session")
def overrides() -> Callable[..., Overrides]:
    return build_overrides


@pytest.fixture(scope="session")
def plan(profiles: tuple[OpenvinoProfile, ...]) -> Callable[..., Plan]:
    """`plan("llama-3.1-8b", 16, precision="int4")` on eight cores; `on` and `of` take a machine and a model."""

    def plan(
        name: str = "", memory: float = 64, on: Machine | None = None, of: Model | None = None, **given: Any
    ) -> Plan:
        return make_plan(
            on or build_machine(memory), of or build_model(name), [openvino(profiles)], build_overrides(**given)
        )

    return plan
