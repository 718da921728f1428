"""Facts and parameter counts of published models, from their config.json alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import DamagedModelError
from stoker.resolve.facts import architecture_facts, quantization_facts
from stoker.resolve.parameters import count_parameters
from stoker.resolve.weights import computed_weights

CONFIGS = Path(__file__).parent.parent / "configs"

# The counts that the models' pages give.
PUBLISHED = {
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-8b": 8_190_735_360,
    "qwen3-30b-a3b": 30_532_122_624,
    "mixtral-8x7b": 46_702_792_704,
    "mistral-7b-v0.1": 7_241_732_096,
    "mistral-7b-v0.3": 7_248_023_552,
    "olmo-3-7b": 7_298_011_136,
    "phi-3-mini": 3_821_079_552,
    "gemma-2-9b": 9_241_705_984,
    "gemma-3-1b": 999_885_952,
    "seed-oss-36b": 36_151_104_512,
    "smollm2-135m": 134_515_008,
    "smollm3-3b": 3_075_098_624,
    "tinyllama-1.1b": 1_100_048_384,
}


def config(name: str, **changes: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text())
    return {**loaded, **changes}


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_parameter_count_is_the_published_one(name: str, parameters: int) -> None:
    assert count_parameters(config(name), architecture_facts(config(name))).total == parameters


@pytest.mark.parametrize(("name", "billions"), [("granite-3.1-2b", 2.53), ("olmo-2-7b", 7.30)])
def test_parameter_count_is_near_the_rounded_one(name: str, billions: float) -> None:
    assert count_parameters(config(name), architecture_facts(config(name))).total / 1e9 == pytest.approx(
        billions, 0.003
    )


def test_facts_of_a_dense_model() -> None:
    facts = architecture_facts(config("llama-3.1-8b"))
    assert (facts.name, facts.model_type) == ("LlamaForCausalLM", "llama")
    assert (facts.layers, facts.heads, facts.kv_heads, facts.head_size) == (32, 32, 8, 128)
    assert (facts.hidden_size, facts.intermediate_size, facts.vocabulary_size) == (4096, 14336, 128256)
    assert facts.max_position_embeddings == 131072
    assert (facts.tied_embeddings, facts.experts, facts.sliding_window) == (False, 0, None)


@pytest.mark.parametrize(
    ("name", "experts"), [("mixtral-8x7b", (8, 2, 14336)), ("qwen3-30b-a3b", (128, 8, 768)), ("qwen3-8b", (0, 0, 0))]
)
def test_experts(name: str, experts: tuple[int, int, int]) -> None:
    facts = architecture_facts(config(name))
    assert (facts.experts, facts.experts_per_token, facts.expert_intermediate_size) == experts


@pytest.mark.parametrize(
    ("name", "changes", "window"),
    [
        ("mistral-7b-v0.1", {}, (4096, 32)),
        ("mistral-7b-v0.3", {}, (None, 0)),
        ("phi-3-mini", {}, (2047, 32)),
        ("gemma-2-9b", {}, (4096, 21)),
        ("gemma-3-1b", {}, (512, 22)),
        ("gemma-3-1b", {"sliding_window_pattern": 2}, (512, 13)),
        ("gemma-3-1b", {"layer_types": ["sliding_attention"] * 5 + ["full_attention"] * 21}, (512, 5)),
        ("olmo-3-7b", {}, (4096, 24)),
        ("olmo-3-7b", {"layer_types": None, "sliding_window": 512}, (512, 24)),
        ("qwen2.5-0.5b", {}, (None, 0)),
        ("qwen2.5-0.5b", {"use_sliding_window": True}, (32768, 3)),
        ("qwen2.5-7b", {"use_sliding_window": True}, (None, 0)),
        ("qwen3-30b-a3b", {"use_sliding_window": True, "sliding_window": 4096}, (4096, 48)),
        ("llama-3.1-8b", {"sliding_window": 4096}, (None, 0)),
    ],
)
def test_sliding_window(name: str, changes: dict[str, Any], window: tuple[int | None, int]) -> None:
    facts = architecture_facts(config(name, **changes))
    assert (facts.sliding_window, facts.sliding_layers) == window


def test_text_model_inside_a_multimodal_one_with_omitted_keys() -> None:
    facts = architecture_facts(config("gemma-3-4b"))
    assert (facts.name, facts.model_type) == ("Gemma3ForConditionalGeneration", "gemma3_text")
    assert (facts.heads, facts.kv_heads, facts.head_size, facts.vocabulary_size) == (8, 4, 256, 262_208)
    assert (facts.sliding_window, facts.sliding_layers, facts.tied_embeddings) == (1024, 29, True)
    assert count_parameters(config("gemma-3-4b"), facts).total == 3_880_263_168


@pytest.mark.parametrize(
    "key",
    ["num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size", "architectures"],
)
def test_a_missing_key_is_named(key: str) -> None:
    broken = config("llama-3.1-8b")
    del broken[key]
    with pytest.raises(DamagedModelError, match=key):
        architecture_facts(broken)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_hidden_layers", 0),
        ("num_hidden_layers", "32"),
        ("vocab_size", True),
        ("num_key_value_heads", 5),
        ("hidden_size", 4097),
        ("architectures", []),
    ],
)
def test_a_senseless_value_is_named(key: str, value: object) -> None:
    with pytest.raises(DamagedModelError, match="head_dim" if key == "hidden_size" else key):
        architecture_facts(config("llama-3.1-8b", **{key: value}))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}, ("awq", 4, 128)),
        ({"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": True}, ("gptq", 4, 32)),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, ("gptq", 8, 0)),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, ("fp8", 8, 0)),
        ({"quant_method": "mxfp4"}, ("mxfp4", 4, 0)),
        ({"load_in_4bit": True}, ("bitsandbytes", 4, 0)),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}, ("modelopt", 4, 16)),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 64}}},
            },
            ("compressed-tensors", 4, 64),
        ),
    ],
)
def test_quantization(settings: dict[str, Any], expected: tuple[str, int, int]) -> None:
    facts = quantization_facts(config("llama-3.1-8b", quantization_config=settings))
    assert facts is not None
    assert (facts.method, facts.bits, facts.group_size) == expected
    assert facts.settings == settings


def test_quantization_by_modelopt_in_a_file_of_its_own() -> None:
    facts = quantization_facts(
        config("llama-3.1-8b"), {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}
    )
    assert facts is not None
    assert (facts.method, facts.bits) == ("modelopt", 8)
    assert quantization_facts(config("llama-3.1-8b")) is None


def test_computed_weights_of_70b() -> None:
    weights = computed_weights(config("llama-3.1-70b"), architecture_facts(config("llama-3.1-70b")), None)
    assert weights.bytes_by_dtype == {"BF16": 2 * 70_553_706_496}
    assert (weights.measured, weights.files) == (False, ())


def test_computed_weights_of_a_quantised_checkpoint() -> None:
    packed = config("llama-3.1-8b", quantization_config={"quant_method": "awq", "bits": 4, "group_size": 128})
    weights = computed_weights(packed, architecture_facts(packed), quantization_facts(packed))
    assert weights.parameters == 8_030_261_248
    assert weights.total_bytes / 1e9 == pytest.approx(5.73, 0.02)  # hugging-quants' AWQ files of it: 5.73 GB
