"""The kind `torch`: after every compiled engine, with the reason, and never in silence."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from tests.arithmetic import check_arithmetic
from tests.planning import plan_any

from stoker.errors import DoesNotFitError, StokerError, UnsupportedModelError, UsageError
from stoker.kinds.torch.plan.catalogue import Constants, load_torch, read_torch
from stoker.plan.render import pinned
from stoker.plan.types import Plan
from stoker.probe.description import load_description
from stoker.resolve.model import Model, Quantization

ROOT = Path(__file__).parents[3]
TORCH = load_torch()
UNKNOWN = {"architectures": ["StableLmForCausalLM"], "model_type": "stablelm"}
GIB = 1024**3

Choose = Callable[..., Plan]


@pytest.fixture
def choose(profiles: Any, machine: Any, model: Any, overrides: Any) -> Choose:
    def choose(name: str = "qwen2.5-0.5b", on: Any = None, of: Any = None, available: Any = None, **given: Any) -> Plan:
        here = load_description(on) if isinstance(on, str) else on or machine(64)
        return plan_any(here, of or model(name), overrides(**given), available)

    return choose


@pytest.fixture
def unknown(model: Any) -> Model:
    return model("qwen2.5-0.5b", UNKNOWN)


def test_a_model_that_openvino_can_build_is_compiled(choose: Choose) -> None:
    assert choose().chosen.engine == "openvino"


def test_one_that_no_builder_knows_is_not_and_the_plan_says_why(choose: Choose, unknown: Model) -> None:
    plan = choose(of=unknown)
    assert (plan.chosen.engine, plan.chosen.profile) == ("torch", "torch-bf16-throughput")
    assert plan.chosen.devices == ()
    assert "the last choice" in plan.reasons[0].text
    assert "StableLmForCausalLM" in plan.reasons[0].text
    assert any(one.profile == "openvino-int8-throughput" for one in plan.rejected)


def test_without_pytorch_it_is_refused(choose: Choose, unknown: Model) -> None:
    with pytest.raises(UnsupportedModelError, match="StableLmForCausalLM"):
        choose(of=unknown, available=frozenset({"openvino"}))
    with pytest.raises(DoesNotFitError, match="not installed"):
        choose(profile="torch-bf16-throughput", available=frozenset({"openvino"}))


@pytest.mark.parametrize(("gpu", "precision"), [("T4", "f16"), ("V100-32GB", "f16")])
def test_a_gpu_that_tensorrt_llm_no_longer_serves(choose: Choose, gpu: str, precision: str) -> None:
    plan = choose(on=f"{gpu},cpu:16c-64g")
    assert (plan.chosen.engine, plan.chosen.precision, plan.chosen.devices) == ("torch", precision, (0,))
    assert "compute capability 8.0" in plan.reasons[0].text
    assert any("bf16 needs 8.0" in reason.text for reason in plan.reasons)
    with pytest.raises(DoesNotFitError, match="bf16 needs 8.0"):
        choose(on=f"{gpu},cpu:16c-64g", profile="torch-bf16-throughput")


def test_a_gpu_that_tensorrt_llm_serves_is_left_to_it(choose: Choose) -> None:
    assert choose(on="H100-80GB").chosen.engine == "tensorrt_llm"
    assert choose(on="H100-80GB", profile="torch-bf16-throughput").chosen.engine == "torch"


def test_where_its_tools_are_missing_the_gpu_still_comes_before_the_cpu(choose: Choose) -> None:
    plan = choose(on="H100-80GB,cpu:16c-64g", available=frozenset({"openvino", "torch"}))
    assert (plan.chosen.engine, plan.chosen.devices) == ("torch", (0,))
    assert "the last choice" in plan.reasons[0].text


def test_what_one_gpu_cannot_hold_is_divided_over_the_fewest_that_can(choose: Choose) -> None:
    bf16 = {"on": "8xH100-80GB,cpu:16c-64g", "profile": "torch-bf16-throughput"}
    assert choose("llama-3.1-8b", **bf16).chosen.devices == (0,)
    plan = choose("llama-3.1-70b", **bf16)
    assert (plan.chosen.tensor_parallel, plan.chosen.devices) == (2, (0, 1))
    assert plan.memory.total <= plan.memory.limit
    assert any(
        "tensor parallel 2" in reason.text and "one of them cannot hold" in reason.text for reason in plan.reasons
    )
    two = choose("llama-3.1-8b", **bf16, tensor_parallel=2)
    one = choose("llama-3.1-8b", **bf16)
    assert two.chosen.devices == (0, 1)
    assert one.memory.weights / 2 < two.memory.weights < one.memory.weights
    assert two.memory.kv.bytes_per_token < one.memory.kv.bytes_per_token
    assert (one.memory.communication, two.memory.communication > 0) == (0, True)


def test_only_sizes_that_divide_the_heads(choose: Choose) -> None:
    """Qwen2.5 0.5B has 14 heads and 2 KV heads."""
    on = {"on": "8xH100-80GB", "profile": "torch-bf16-throughput"}
    assert choose(**on, tensor_parallel=2).chosen.tensor_parallel == 2
    with pytest.raises(UsageError, match="4 does not divide 14 attention heads"):
        choose(**on, tensor_parallel=4)
    with pytest.raises(DoesNotFitError, match="the largest that fits: 2 GPUs in all"):
        choose(on="2xT4,cpu:16c-64g", profile="torch-f16-throughput", name="llama-3.1-8b", tensor_parallel=4)
    with pytest.raises(UsageError, match="quantises while they are loaded"):
        choose(on="8xH100-80GB", profile="torch-int8-throughput", tensor_parallel=2)


def test_a_cpu_has_ranks_only_when_they_are_asked_for(choose: Choose, machine: Any) -> None:
    given = {"on": machine(64, cores=2), "profile": "torch-f32-throughput"}
    plan, alone = choose(**given, tensor_parallel=2), choose(**given)
    assert (plan.chosen.tensor_parallel, plan.chosen.devices, alone.chosen.tensor_parallel) == (2, (), 1)
    assert plan.memory.limit == alone.memory.limit // 2
    assert ("tensor-parallel", "2") in pinned(plan)
    with pytest.raises(DoesNotFitError, match="1 core is here"):
        choose(on=machine(64, cores=1), profile="torch-f32-throughput", tensor_parallel=2)


@pytest.mark.parametrize(
    ("gpu", "precision"),
    [("MI300X", "bf16"), ("MI210", "bf16"), ("RX-7900-XTX", "bf16"), ("MI100", "f16")],
)
def test_an_amd_gpu_is_torch_s_alone_in_the_type_that_its_target_computes_in(
    choose: Choose, gpu: str, precision: str
) -> None:
    plan = choose(on=gpu)
    assert (plan.chosen.engine, plan.chosen.precision, plan.chosen.devices) == ("torch", precision, (0,))
    assert "has no compiled engine: TensorRT-LLM is NVIDIA's" in plan.reasons[0].text
    assert any("and bf16 needs gfx90a" in reason.text for reason in plan.reasons) == (precision == "f16")
    with pytest.raises(StokerError, match="int4"):
        choose(on=gpu, profile="torch-int4-throughput")


def test_amd_s_gpus_share_a_model_that_one_cannot_hold(choose: Choose) -> None:
    plan = choose("llama-3.1-405b", on="8xMI300X")
    assert (plan.chosen.tensor_parallel, len(plan.chosen.devices)) == (8, 8)
    with pytest.raises(DoesNotFitError, match="does not fit"):
        choose("llama-3.1-405b", on="MI300X")


def test_without_pytorch_an_amd_gpu_is_left_for_the_cpu_with_the_reason(choose: Choose) -> None:
    plan = choose(on="MI300X,cpu:16c-64g", available=frozenset({"openvino"}))
    assert plan.chosen.engine == "openvino"
    assert "has no compiled engine" in plan.reasons[0].text


def test_beside_an_nvidia_gpu_the_compiled_engine_takes_that_one(choose: Choose) -> None:
    h100, amd = load_description("H100-80GB"), load_description("MI300X")
    both = replace(h100, gpus=(*h100.gpus, replace(amd.gpus[0], index=1)))
    plan = choose(on=both)
    assert (plan.chosen.engine, plan.chosen.devices, plan.machine) == ("tensorrt_llm", (0,), both)


@pytest.mark.parametrize("memory", [3, 8, 64])
def test_the_plan_fits_and_holds_one_sequence_of_full_length(choose: Choose, machine: Any, memory: int) -> None:
    plan = choose(on=machine(memory), profile="torch-bf16-throughput")
    assert plan.memory.total <= plan.memory.limit
    assert plan.memory.kv.blocks * plan.memory.kv.block_tokens >= plan.chosen.max_seq_len


def test_a_processor_without_bf16_computes_in_f32(choose: Choose, machine: Any, unknown: Model) -> None:
    plan = choose(on=machine(64, isa=("avx2",)), of=unknown)
    assert plan.chosen.precision == "f32"
    assert any("not the checkpoint's own" in reason.text for reason in plan.reasons)


def test_quantised_while_loaded_only_on_request(choose: Choose, unknown: Model) -> None:
    plan = choose(of=unknown, precision="int8")
    assert (plan.chosen.precision, plan.chosen.activation_precision) == ("int8", "bf16")
    assert plan.memory.weights < choose(of=unknown).memory.weights
    with pytest.raises(StokerError, match="int4"):
        choose(profile="torch-int4-throughput")
    assert choose(on="H100-80GB", profile="torch-int4-throughput").chosen.precision == "int4"


def test_adapters_are_counted_and_the_plan_says_what_turns_cost(choose: Choose, unknown: Model) -> None:
    plan, without = choose(of=unknown, max_loras=4, max_lora_rank=16), choose(of=unknown)
    assert (plan.chosen.engine, plan.chosen.max_loras, plan.chosen.max_lora_rank) == ("torch", 4, 16)
    assert plan.memory.adapters > without.memory.adapters == 0
    said = next(reason.text for reason in plan.reasons if reason.code == "adapters")
    assert "take turns" in said
    assert "share no prefixes" in said
    assert not [reason for reason in without.reasons if reason.code == "adapters"]
    with pytest.raises(UsageError, match="not divided over ranks"):
        choose(profile="torch-bf16-throughput", max_loras=1, max_lora_rank=8, tensor_parallel=2)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"kv_precision": "f16"}, UsageError, "keeps its cache in what it computes in"),
        ({"precision": "int8"}, UsageError, "contradict each other"),
        ({"pipeline_parallel": 2}, UsageError, "no pipeline parallelism"),
        ({"tensor_parallel": 3}, UsageError, "3 does not divide 14 attention heads"),
    ],
)
def test_overrides_that_it_cannot_grant(choose: Choose, given: Any, error: type[StokerError], words: str) -> None:
    with pytest.raises(error) as caught:
        choose(profile="torch-bf16-throughput", **given)
    assert words in str(caught.value)


def test_a_checkpoint_that_is_quantised_already_is_refused(choose: Choose, unknown: Model) -> None:
    with pytest.raises(UnsupportedModelError, match="quantised already"):
        choose(of=replace(unknown, quantization=Quantization("awq", 4, 128)))


def test_pages_of_gpus_are_a_multiple_of_what_flash_attention_reads() -> None:
    assert {name: place.page_tokens for name, place in TORCH.places.items()} == {"cpu": 32, "gpu": 256}


def test_a_mistake_in_the_catalogue_names_file_line_and_field() -> None:
    text = (ROOT / "profiles" / "torch" / "torch.yaml").read_text()
    with pytest.raises(UsageError, match=r"torch.yaml, line \d+, field precisions.bf16.bits"):
        read_torch(text.replace("bits: 16", "bits: many", 1), "torch.yaml")


def test_the_arithmetic_in_the_documentation_is_right_and_is_the_plan_s(choose: Choose) -> None:
    text = (ROOT / "docs" / "planning.md").read_text().partition("**Llama-3.1-8B on 4xT4**")[2]
    sums = re.findall(r"^    (weights|activations|KV token|KV cache)\s.*=\s+([\d,]+)$", text, re.MULTILINE)
    found = {name: int(value.replace(",", "")) for name, value in sums}
    plan = choose("llama-3.1-8b", on="4xT4")
    memory = plan.memory
    assert plan.chosen.tensor_parallel == 2
    assert found == {
        "weights": memory.weights,
        "activations": memory.activations,
        "KV token": memory.kv.bytes_per_token,
        "KV cache": memory.kv.bytes,
    }
    assert f"{memory.runtime:,}, and {memory.communication:,} of communication" in text
    check_arithmetic(text)


def test_the_catalogue_s_readme_has_every_field() -> None:
    text = (ROOT / "profiles" / "README.md").read_text().partition("## PyTorch")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", text))
    assert named >= {field.name for one in (Constants,) for field in fields(one)} | {"order", "bits", "group_size"}
