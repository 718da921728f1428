"""The memory of a GPU against published logs and published bytes."""

import json
from pathlib import Path

import pytest

from stoker.kinds.tensorrt_llm.plan.catalogue import load_nvidia
from stoker.kinds.tensorrt_llm.plan.memory import budget, kv_bytes_per_token, weight_bytes
from stoker.plan.devices import Split
from stoker.plan.kind import Shape
from stoker.resolve.facts import architecture_facts
from stoker.resolve.model import Model
from stoker.resolve.weights import computed_weights

GIB, MIB = 1024**3, 1024**2
CONFIGS = Path(__file__).parents[1] / "configs"
PROFILES = {profile.name: profile for profile in load_nvidia().profiles}
LLAMA_2_7B = {
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32_000,
    "max_position_embeddings": 4096,
    "rope_scaling": None,
}
ONE = Split(1, 1)


def build(name: str, **changes) -> Model:
    config = {**json.loads((CONFIGS / f"{name}.json").read_text()), **changes}
    architecture = architecture_facts(config)
    return Model(name, name, "", architecture, computed_weights(config, architecture, None), config)


def test_the_published_log_is_reproduced():
    # TensorRT-LLM's reference/memory.md, Llama-2-7B in FP8 with an FP8 cache; 32 pages of 64 tokens a sequence. The log
    # does not print its limits: 256 sequences and 8,192 tokens were that release's defaults.
    model = build("llama-3.1-8b", **LLAMA_2_7B)
    profile = PROFILES["tensorrt_llm-fp8-throughput"]
    found = budget(model, profile, "fp8", Shape(256, 8192, 2048), ONE, int(79.10 * GIB))
    assert found.kv.bytes_per_token == 262_144
    assert found.weights == pytest.approx(6695 * MIB, rel=0.05)
    assert found.activations == pytest.approx(1134.01 * MIB, rel=0.05)
    assert found.runtime == pytest.approx((43.29 + 180.30) * MIB, rel=0.05)
    assert found.limit - (found.total - found.kv.bytes) == pytest.approx(70.48 * GIB, rel=0.05)
    assert found.kv.bytes == pytest.approx(63.44 * GIB, rel=0.05)
    assert found.kv.tokens == pytest.approx(259_840, rel=0.05)


def test_the_buffers_of_a_large_batch_are_those_of_the_other_published_log():
    # performance/perf-benchmarking.md of 0.12: 4,096 sequences of 4,098 tokens.
    model = build("llama-3.1-8b", **LLAMA_2_7B)
    profile = PROFILES["tensorrt_llm-fp8-throughput"]
    found = budget(model, profile, "fp8", Shape(4096, 8192, 4098), ONE, int(79.10 * GIB))
    assert found.runtime == pytest.approx((1.14 + 4.35) * GIB, rel=0.05)


@pytest.mark.parametrize(
    ("name", "changes", "published"),
    [
        ("llama-3.1-8b", {}, 131_072),
        ("llama-3.1-70b", {}, 327_680),
        ("qwen3-8b", {"num_hidden_layers": 28, "hidden_size": 1024}, 114_688),  # Qwen3-0.6B
        ("smollm2-135m", {}, 23_040),
    ],
)
def test_a_token_takes_the_published_bytes(name, changes, published):
    architecture = build(name, **changes).architecture
    assert kv_bytes_per_token(architecture, "f16", ONE) == published
    assert kv_bytes_per_token(architecture, "bf16", ONE) == published
    assert kv_bytes_per_token(architecture, "fp8", ONE) == published // 2


@pytest.mark.parametrize(("tensor", "heads"), [(1, 8), (2, 4), (4, 2), (8, 1), (16, 1)])
def test_kv_heads_are_repeated_where_there_are_fewer_than_gpus(tensor, heads):
    architecture = build("llama-3.1-70b").architecture
    assert kv_bytes_per_token(architecture, "bf16", Split(tensor, 1)) == 80 * heads * 2 * 128 * 2


def test_pipeline_groups_hold_whole_layers():
    architecture = build("llama-3.1-8b").architecture
    assert kv_bytes_per_token(architecture, "bf16", Split(1, 3)) == 11 * 8 * 2 * 128 * 2


def test_embeddings_stay_whole_and_the_output_matrix_is_split():
    model, profile = build("llama-3.1-8b"), PROFILES["tensorrt_llm-bf16-throughput"]
    table = 128_256 * 4096 * 2
    layers = 2 * 8_030_261_248 - 2 * table
    norms = 65 * 4096 * 2
    assert weight_bytes(model, profile, ONE) == layers + 2 * table
    split = weight_bytes(model, profile, Split(4, 1))
    assert split == pytest.approx((layers - norms) / 4 + norms + table + table // 4, abs=8)
    halves = weight_bytes(model, profile, Split(1, 2))
    assert halves == pytest.approx(layers / 2 + table, abs=norms)


@pytest.mark.parametrize(
    ("precision", "bits"),
    [
        ("bf16", 16),
        ("fp8", 8),
        ("int8_wo", 8),
        ("int8_sq", 8),
        ("nvfp4", 4.5),
        ("int4_awq", 4.125),
        ("int4_gptq", 4.25),
    ],
)
def test_quantised_layers_take_their_bits_and_scales(precision, bits):
    model, profile = build("llama-3.1-70b"), PROFILES[f"tensorrt_llm-{precision}-throughput"]
    tables = 2 * 128_256 * 8192 * 2
    layers = (70_553_706_496 - tables // 2) * bits / 8
    assert weight_bytes(model, profile, ONE) == pytest.approx(layers + tables, rel=0.002)


def test_activations_follow_the_tokens_of_a_step_and_shrink_with_tensor_parallelism():
    model, profile = build("llama-3.1-8b"), PROFILES["tensorrt_llm-bf16-throughput"]

    def activations(tokens: int, tensor: int) -> int:
        return budget(model, profile, "bf16", Shape(1, tokens, 1024), Split(tensor, 1), 80 * GIB).activations

    assert activations(4096, 1) == 2 * activations(2048, 1)
    assert activations(4096, 2) < activations(4096, 1) < 2 * activations(4096, 2)
