"""Plans a case of gpu_plans.yaml, as its test and tools/write_gpu_plans.py need it."""

import json
from pathlib import Path
from typing import Any

from tests.planning import plan_compiled

from stoker.errors import StokerError
from stoker.origin import Origin, Sourced
from stoker.plan.types import Overrides, Plan
from stoker.probe.description import load_description
from stoker.resolve.facts import architecture_facts, quantization_facts
from stoker.resolve.model import Model
from stoker.resolve.weights import computed_weights

CONFIGS = Path(__file__).parents[1] / "configs"
OVERRIDES = ("goal", "precision", "kv_precision", "max_seq_len", "tensor_parallel")


def model_of(name: str, quantization: dict[str, Any] | None = None) -> Model:
    config = json.loads((CONFIGS / f"{name}.json").read_text())
    if quantization:
        config["quantization_config"] = quantization
    architecture, found = architecture_facts(config), quantization_facts(config)
    weights = computed_weights(config, architecture, found)
    return Model(f"org/{name}", f"org/{name}", "abc123", architecture, weights, config, quantization=found)


def plan_of(case: dict[str, Any]) -> Plan:
    overrides = {
        name: Sourced(case[name], Origin.FLAG, f"--{name.replace('_', '-')}") for name in OVERRIDES if name in case
    }
    model = model_of(case["model"], case.get("quantization"))
    return plan_compiled(load_description(case["machine"]), model, Overrides(**overrides))


def result_of(case: dict[str, Any]) -> dict[str, Any]:
    try:
        plan = plan_of(case)
    except StokerError as error:
        return {"refused": str(error)}
    chosen, memory = plan.chosen, plan.memory
    return {
        "kind": chosen.engine,
        "precision": chosen.precision,
        "kv": chosen.kv_precision,
        "tp": chosen.tensor_parallel,
        "pp": chosen.pipeline_parallel,
        "devices": list(chosen.devices),
        "context": chosen.max_seq_len,
        "batch": chosen.max_batch_size,
        "step": chosen.max_num_tokens,
        "weights": memory.weights,
        "activations": memory.activations,
        "runtime": memory.runtime,
        "kv_cache": memory.kv.bytes,
        "total": memory.total,
        "limit": memory.limit,
    }
