"""Plans for embedding models and rerankers: profiles of their own, no cache, and no GPU yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from tests.planning import plan_any

from stoker.build.jobs import Job, as_json, job_from
from stoker.errors import DoesNotFitError, UsageError
from stoker.plan.render import plan_document, render_plan
from stoker.plan.schema import plan_schema
from stoker.plan.types import Plan
from stoker.probe.description import load_description
from stoker.resolve.document import model_as_json, model_from
from stoker.resolve.model import Architecture, Model, Pooling, Weights

# BAAI/bge-small-en-v1.5
SMALL = Architecture("BertModel", "bert", 12, 384, 1536, 12, 12, 32, 30522, 512, tied_embeddings=True)
CONFIG = {
    "architectures": ["BertModel"],
    "hidden_size": 384,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "vocab_size": 30522,
}
POOLING = Pooling("cls", True, 512, {"query": "Represent: "}, source="modules.json and 1_Pooling/config.json")
BGE = Model("org/bge", "org/bge", "abc", SMALL, Weights(33_360_000, {"F32": 133_440_000}), CONFIG, pooling=POOLING)


Choose = Callable[..., Plan]


@pytest.fixture
def choose(overrides: Any) -> Choose:
    def choose(of: Model = BGE, on: str = "cpu:8c-16g-avx512_bf16", available: Any = None, **given: Any) -> Plan:
        return plan_any(load_description(on), of, overrides(**given), available)

    return choose


def test_the_default_is_int8_with_no_cache_and_every_token_that_the_model_was_made_for(choose: Choose) -> None:
    plan = choose()
    chosen, memory = plan.chosen, plan.memory
    assert (chosen.engine, chosen.purpose, chosen.precision, chosen.kv_precision) == (
        "openvino",
        "embedding",
        "int8",
        "none",
    )
    assert (chosen.max_seq_len, memory.kv.bytes, memory.kv.blocks) == (512, 0, 0)
    assert BGE.weights.parameters < memory.weights < 1.1 * BGE.weights.parameters
    page = render_plan(plan)
    assert "vectors pooled by cls, of length 1; prompts for query" in page
    assert "no KV cache" in page
    assert {one.profile for one in plan.rejected} == {
        f"openvino-embedding-{precision}-throughput" for precision in ("bf16", "f16", "f32")
    }
    jsonschema.validate(plan_document(plan), plan_schema())


@pytest.mark.parametrize("precision", ["f32", "f16", "bf16", "int8"])
def test_a_requested_precision_is_taken_and_the_command_repeats_the_plan(choose: Choose, precision: str) -> None:
    plan = choose(precision=precision, max_seq_len=100, max_batch_size=3)
    assert plan.chosen.precision == precision
    again = choose(
        profile=plan.chosen.profile,
        kv_precision="none",
        max_seq_len=100,
        max_batch_size=3,
        max_num_tokens=plan.chosen.max_num_tokens,
    )
    assert again.chosen == plan.chosen


def test_memory_grows_with_the_longest_text(choose: Choose) -> None:
    long = replace(BGE, pooling=replace(POOLING, max_length=8192))
    whole, short = choose(long), choose(long, max_seq_len=512)
    assert whole.chosen.max_seq_len == 8192
    assert whole.memory.activations > 2 * short.memory.activations


def test_a_gpu_is_not_used_yet_and_the_plan_says_so(choose: Choose) -> None:
    plan = choose(on="H100-80GB,cpu:16c-64g-avx512_bf16")
    assert (plan.chosen.engine, plan.chosen.purpose, plan.chosen.devices) == ("openvino", "embedding", ())
    assert any("GPU found" in reason.text for reason in plan.reasons)


@pytest.mark.parametrize(
    "profile", ["openvino-int8-throughput", "tensorrt_llm-fp8-throughput", "torch-bf16-throughput"]
)
def test_a_profile_for_text_is_refused_for_vectors(choose: Choose, profile: str) -> None:
    with pytest.raises(UsageError, match=r"gives no text.*openvino-embedding-int8-throughput"):
        choose(profile=profile)


def test_a_profile_for_vectors_is_refused_for_text(plan: Any, choose: Choose, model: Any) -> None:
    for make in (plan, choose):
        with pytest.raises(UsageError, match=r"openvino-embedding-int8-throughput"):
            make(of=model("qwen2.5-0.5b"), profile="openvino-embedding-int8-throughput")


def test_neither_a_cache_nor_too_long_a_context_is_accepted(choose: Choose) -> None:
    with pytest.raises(UsageError, match="offers none"):
        choose(kv_precision="u8")
    with pytest.raises(UsageError, match="512 tokens"):
        choose(max_seq_len=513)


def test_what_does_not_fit_names_what_would(choose: Choose) -> None:
    with pytest.raises(DoesNotFitError, match="largest that fits"):
        choose(on="cpu:8c-1g-avx512_bf16", max_num_tokens=100_000)


def test_without_openvino_there_is_no_engine(choose: Choose) -> None:
    with pytest.raises(DoesNotFitError, match="OpenVINO, which is not installed"):
        choose(available=frozenset({"torch"}))


def test_the_pooling_goes_to_the_builder_and_into_the_engine(choose: Choose) -> None:
    job = Job(BGE, choose().chosen, "/somewhere")
    assert job_from(json.loads(json.dumps(as_json(job)))).model.pooling == POOLING
    document = model_as_json(BGE)
    assert model_from(document).pooling == POOLING
    del document["pooling"]  # engines built before there were any
    assert model_from(document).pooling is None
