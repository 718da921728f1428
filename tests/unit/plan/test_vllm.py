"""The kind `vllm`: taken when it is asked for, with a budget of its own."""

from __future__ import annotations

from typing import Any

import pytest
from tests.planning import plan_any

from stoker.errors import DoesNotFitError, StokerError
from stoker.plan.types import Plan
from stoker.probe.description import load_description
from stoker.resolve.model import Quantization


@pytest.fixture
def choose(model: Any, overrides: Any) -> Any:
    def choose(name: str, machine: str, quantization: Quantization | None = None, **given: Any) -> Plan:
        of = model(name, quantization=quantization)
        return plan_any(load_description(machine), of, overrides(engine="vllm", **given))

    return choose


@pytest.mark.parametrize(
    ("name", "machine", "precision", "ranks"),
    [
        ("llama-3.1-8b", "1xH100-80GB", "bf16", 1),
        ("llama-3.1-8b", "1xL4", "bf16", 1),
        ("llama-3.1-70b", "4xH100-80GB", "bf16", 2),
        ("llama-3.1-70b", "1xH200", "fp8", 1),
        ("qwen2.5-0.5b", "1xT4", "f16", 1),
        ("gemma-3-4b", "1xL4", "bf16", 1),
    ],
)
def test_what_is_chosen(choose: Any, name: str, machine: str, precision: str, ranks: int) -> None:
    plan = choose(name, machine)
    chosen, memory = plan.chosen, plan.memory
    assert (chosen.engine, chosen.precision, chosen.tensor_parallel) == ("vllm", precision, ranks)
    assert memory.total <= memory.limit
    assert memory.kv.tokens >= chosen.max_seq_len


def test_without_being_asked_for_it_is_never_taken(model: Any, overrides: Any) -> None:
    for machine in ("1xT4,cpu:16c-64g", "8xH100-80GB", "1xL4,cpu:8c-32g"):
        plan = plan_any(load_description(machine), model("smollm3-3b"), overrides())
        assert plan.chosen.engine != "vllm"
        assert any("--engine vllm" in one.reason or "needs compute" in one.reason for one in plan.rejected)


@pytest.mark.parametrize(
    ("quantization", "machine", "precision"),
    [
        (Quantization("awq", 4, 128), "1xT4", "int4_awq"),
        (Quantization("gptq", 4, 128), "1xL4", "int4_gptq"),
        (Quantization("fp8", 8, 0), "1xL4", "fp8"),
        (Quantization("fp8", 8, 0, {"weight_block_size": [128, 128]}), "1xH100-80GB", "fp8_block"),
        (Quantization("mxfp4", 4, 0), "1xH100-80GB", "mxfp4"),
    ],
)
def test_checkpoints_are_taken_as_they_are(
    choose: Any, quantization: Quantization, machine: str, precision: str
) -> None:
    assert choose("llama-3.1-8b", machine, quantization).chosen.precision == precision


@pytest.mark.parametrize(
    ("given", "machine", "words"),
    [
        ({"precision": "fp8"}, "1xA100", "fp8 needs compute capability 8.9"),
        ({"kv_precision": "fp8"}, "1xA100", "has no fp8 cache"),
        ({"max_seq_len": 131072, "max_batch_size": 64}, "1xL4", "the largest that fits"),
        ({"tensor_parallel": 3}, "8xH100-80GB", "3 does not divide 32 attention heads"),
        ({}, "MI300X,cpu:8c-64g", "vLLM serves from NVIDIA's GPUs.*torch would serve it"),
        ({}, "cpu:8c-64g", "none was found.*openvino would serve it"),
    ],
)
def test_what_cannot_be_had_is_refused(choose: Any, given: Any, machine: str, words: str) -> None:
    with pytest.raises(StokerError, match=words):
        choose("llama-3.1-8b", machine, **given)


def test_a_cache_in_fp8_holds_twice_as_much(choose: Any) -> None:
    wide, narrow = choose("llama-3.1-8b", "1xL4"), choose("llama-3.1-8b", "1xL4", kv_precision="fp8")
    assert narrow.memory.kv.bytes_per_token * 2 == wide.memory.kv.bytes_per_token
    assert narrow.chosen.max_batch_size >= wide.chosen.max_batch_size


def test_a_model_that_no_gpu_here_holds_is_refused_with_how_many_would(choose: Any) -> None:
    with pytest.raises(DoesNotFitError, match="about 8 of these GPUs would hold it"):
        choose("llama-3.1-405b", "1xH200", precision="bf16")
