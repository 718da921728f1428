"""Plans for models on GPU machines: those of gpu_plans.yaml, and what must hold for every one of them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.arithmetic import check_arithmetic
from tests.loading import load

from stoker.errors import StokerError
from stoker.plan.types import Plan

HERE = Path(__file__).parent
CONFIGS = HERE.parent / "configs"
PLANNING = HERE.parents[2] / "docs" / "planning.md"
gpu_table = load("gpu_table", HERE / "gpu_table.py")

ROWS = yaml.safe_load((HERE / "gpu_plans.yaml").read_text())
NAMES = [" ".join(map(str, row["case"].values())) for row in ROWS]
# Written down apart from profiles/nvidia, from the builder's rules: what each compute capability cannot build.
FOUR_BIT_FLOAT, EIGHT_BIT_FLOAT = {"nvfp4"}, {"fp8", "w4a8_awq"}
INTEGERS = {"int8_sq", "int8_wo", "int4_wo", "int4_awq", "int4_gptq", "w4a8_awq"}
FORBIDDEN = {
    (8, 0): FOUR_BIT_FLOAT | EIGHT_BIT_FLOAT,
    (8, 6): FOUR_BIT_FLOAT | EIGHT_BIT_FLOAT,
    (8, 9): FOUR_BIT_FLOAT,
    (9, 0): FOUR_BIT_FLOAT,
    (10, 0): INTEGERS,
    (12, 0): set(),
    (12, 1): set(),
}
ASKED_MODELS = (
    *("llama-3.2-1b", "llama-3.2-3b", "llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b", "qwen2.5-0.5b", "qwen2.5-7b"),
    *("qwen2.5-72b", "qwen3-8b", "qwen3-32b", "qwen3-30b-a3b", "mixtral-8x7b", "mistral-7b-v0.3", "mistral-nemo-12b"),
    *("phi-3-mini", "phi-4", "gemma-2-9b", "gemma-2-27b"),
)
ASKED_MACHINES = (
    *("8xH100-80GB", "1xL4", "2xRTX-4090", "4xA10G", "1xT4", "1xH200", "8xB200", "1xRTX-PRO-6000", "GB10"),
    *("Orin-64GB", "Thor"),
)
WIDTH = {"bf16": 2, "f16": 2, "fp8": 1, "int8": 1}
PUBLISHED = {  # parameters, as the models' cards or papers count them
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-72b": 72_706_203_648,
    "qwen3-32b": 32_762_123_264,
    "mistral-nemo-12b": 12_247_782_400,
    "phi-4": 14_659_507_200,
    "gemma-2-27b": 27_227_128_320,
}


def planned(case: dict[str, Any]) -> Plan | None:
    try:
        plan = gpu_table.plan_of(case)
    except StokerError:
        return None
    return plan if plan.chosen.devices else None


GPU_PLANS = [(row["case"], found) for row in ROWS if (found := planned(row["case"]))]
IDS = [" ".join(map(str, case.values())) for case, _ in GPU_PLANS]
every_gpu_plan = pytest.mark.parametrize(("case", "plan"), GPU_PLANS, ids=IDS)


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_the_plan_is_the_one_in_the_table(row):
    assert gpu_table.result_of(row["case"]) == row["plan"], "if this is meant: python tools/write_gpu_plans.py"


def test_the_table_covers_models_and_machines():
    assert len({(case["model"], case["machine"]) for case, _ in GPU_PLANS}) >= 60
    assert {case["model"] for case, _ in GPU_PLANS}.issuperset(ASKED_MODELS)
    assert {row["case"]["machine"] for row in ROWS}.issuperset(ASKED_MACHINES)


@every_gpu_plan
def test_the_budget_adds_up_and_stays_below_what_is_free(case, plan):
    memory, chosen = plan.memory, plan.chosen
    lines = (memory.weights, memory.activations, memory.runtime, memory.kv.bytes, memory.context, memory.communication)
    assert all(line > 0 for line in lines[:5])
    assert (memory.communication > 0) == (len(chosen.devices) > 1)
    assert sum(lines) == memory.total <= memory.limit
    assert memory.limit <= min(plan.machine.gpus[index].memory_free for index in chosen.devices)
    assert memory.kv.bytes <= 0.9 * (memory.limit - (memory.total - memory.kv.bytes))
    assert memory.kv.blocks * 32 >= max(chosen.max_seq_len, chosen.max_batch_size)


@every_gpu_plan
def test_parallel_sizes_divide_the_model_and_are_the_devices(case, plan):
    chosen, config = plan.chosen, json.loads((CONFIGS / f"{case['model']}.json").read_text())
    tensor = chosen.tensor_parallel
    text = {**config, **config.get("text_config", {})}
    heads = plan.model.architecture.heads
    kv_heads = plan.model.architecture.kv_heads
    assert tensor * chosen.pipeline_parallel == len(set(chosen.devices))
    assert heads % tensor == 0
    assert kv_heads % tensor == 0 or tensor % kv_heads == 0
    width = text.get("moe_intermediate_size") or text["intermediate_size"]
    assert width % tensor == 0
    if chosen.group_size and tensor > 1:
        assert width // tensor % chosen.group_size == 0


@every_gpu_plan
def test_no_capability_is_given_a_precision_that_it_cannot_build(case, plan):
    capability = plan.machine.gpus[plan.chosen.devices[0]].compute_capability
    assert plan.chosen.precision not in FORBIDDEN[capability]
    if capability == (10, 0):
        assert plan.chosen.kv_precision != "int8"


@every_gpu_plan
def test_a_token_of_cache_is_what_the_configuration_says(case, plan):
    found, chosen = plan.model.architecture, plan.chosen
    layers = -(-found.layers // chosen.pipeline_parallel)
    heads = -(-found.kv_heads // chosen.tensor_parallel)
    assert plan.memory.kv.bytes_per_token == 2 * layers * heads * found.head_size * WIDTH[chosen.kv_precision]


@every_gpu_plan
def test_weights_are_near_parameters_times_bits_over_gpus(case, plan):
    """All GPUs together hold every parameter once, besides the tables that are repeated."""
    found, chosen, memory = plan.model.architecture, plan.chosen, plan.memory
    parameters = plan.model.weights.parameters
    table = found.vocabulary_size * found.hidden_size
    bits = {"bf16": 16, "f16": 16, "fp8": 8, "int8_sq": 8, "int8_wo": 8, "nvfp4": 4.5}.get(chosen.precision, 4)
    layers = (parameters - (1 if found.tied_embeddings else 2) * table) * bits / 8
    least = layers / len(chosen.devices)
    most = 1.07 * layers / len(chosen.devices) + 2 * 2 * table
    assert least <= memory.weights <= most


@pytest.mark.parametrize("model", sorted(PUBLISHED))
def test_sixteen_bit_weights_on_one_gpu_are_two_bytes_of_every_published_parameter(model):
    plan = gpu_table.plan_of({"model": model, "machine": "1xB200"})
    found = plan.model.architecture
    second_table = found.vocabulary_size * found.hidden_size if found.tied_embeddings else 0
    assert plan.chosen.precision == "bf16"
    assert plan.memory.weights == 2 * (PUBLISHED[model] + second_table)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "llama-3.1-70b", "qwen3-32b"])
def test_larger_gpus_never_serve_less(model):
    sizes = ("1xA100-40GB", "1xA100-80GB"), ("1xH100-80GB", "1xH200-141GB"), ("1xRTX-4090", "1xL40S")
    for smaller, larger in sizes:
        for precision in ("bf16", "int8_wo", "int4_awq"):
            less = planned({"model": model, "machine": smaller, "precision": precision})
            more = planned({"model": model, "machine": larger, "precision": precision})
            if less is None:
                continue
            assert more is not None
            assert more.memory.kv.blocks >= less.memory.kv.blocks
            assert more.chosen.max_seq_len >= less.chosen.max_seq_len


@pytest.mark.parametrize("model", ["llama-3.1-8b", "llama-3.1-70b", "mixtral-8x7b", "qwen2.5-72b"])
def test_latency_never_takes_fewer_gpus_than_throughput(model):
    throughput = planned({"model": model, "machine": "8xH100-80GB"})
    latency = planned({"model": model, "machine": "8xH100-80GB", "goal": "latency"})
    assert throughput is not None
    assert latency is not None
    assert len(latency.chosen.devices) >= len(throughput.chosen.devices)
    assert latency.chosen.pipeline_parallel == 1


@pytest.mark.parametrize(
    ("model", "machine", "title"),
    [
        ("llama-3.1-8b", "1xL4", "**Llama-3.1-8B on 1xL4**"),
        ("llama-3.1-70b", "8xH100-80GB", "**Llama-3.1-70B on 8xH100-80GB**"),
        ("llama-3.1-405b", "8xH100-80GB", "**Llama-3.1-405B on 8xH100-80GB**"),
        ("llama-3.1-70b", "1xA100", "**Llama-3.1-70B on 1xA100**"),
        ("mixtral-8x7b", "4xA10G", "**Mixtral-8x7B on 4xA10G**"),
        ("qwen2.5-72b", "2xRTX-4090", "**Qwen2.5-72B on 2xRTX-4090**"),
        ("qwen3-30b-a3b", "1xRTX-PRO-6000", "**Qwen3-30B-A3B on 1xRTX-PRO-6000**"),
        ("gemma-2-27b", "2xRTX-4090", "**Gemma-2-27B on 2xRTX-4090**"),
        ("llama-3.1-70b", "8xB200", "**Llama-3.1-70B on 8xB200 in NVFP4**"),
        ("phi-4", "1xL4", "**Phi-4 on 1xL4**"),
    ],
)
def test_the_arithmetic_in_the_documentation_is_right_and_is_the_plan_s(model, machine, title):
    text = PLANNING.read_text().partition(title)[2].partition("\n**")[0]
    sums = re.findall(r"^    (weights|activations|runtime|KV token|KV cache)\s.*=\s+([\d,]+)$", text, re.MULTILINE)
    found = {name: int(value.replace(",", "")) for name, value in sums}
    override = {"precision": "nvfp4"} if "NVFP4" in title else {}
    memory = gpu_table.plan_of({"model": model, "machine": machine, **override}).memory
    assert {"weights", "activations", "runtime", "KV cache"} <= set(found)
    assert found["weights"] == memory.weights
    assert found["activations"] == memory.activations
    assert found["runtime"] == memory.runtime
    assert found["KV cache"] == memory.kv.bytes
    assert found.get("KV token", memory.kv.bytes_per_token) == memory.kv.bytes_per_token
    check_arithmetic(text)
