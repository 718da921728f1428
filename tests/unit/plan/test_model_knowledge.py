"""Which kinds know a model is a fact about the model: planning says so anywhere, whatever is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.planning import compiled_kinds, plan_any

from stoker.errors import StokerError, UnsupportedModelError
from stoker.plan.planner import make_plan
from stoker.probe.description import load_description
from stoker.resolve.facts import architecture_facts, quantization_facts
from stoker.resolve.model import Model
from stoker.resolve.weights import computed_weights

FP8_BLOCKS = {"quant_method": "fp8", "weight_block_size": [128, 128]}
GPT_OSS = {
    "architectures": ["GptOssForCausalLM"],
    "model_type": "gpt_oss",
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 201088,
    "num_local_experts": 128,
    "num_experts_per_tok": 4,
    "sliding_window": 128,
    "max_position_embeddings": 131072,
    "num_hidden_layers": 36,
    "quantization_config": {"quant_method": "mxfp4"},
}
DEEPSEEK_V3 = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "num_hidden_layers": 61,
    "vocab_size": 129280,
    "max_position_embeddings": 163840,
    "quantization_config": FP8_BLOCKS,
}
QWEN3_NEXT = {
    "architectures": ["Qwen3NextForCausalLM"],
    "model_type": "qwen3_next",
    "hidden_size": 2048,
    "head_dim": 256,
    "intermediate_size": 5120,
    "moe_intermediate_size": 512,
    "num_experts": 512,
    "num_experts_per_tok": 10,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "num_hidden_layers": 48,
    "vocab_size": 151936,
    "max_position_embeddings": 262144,
    "torch_dtype": "bfloat16",
}


def model_of(config: dict[str, Any]) -> Model:
    architecture, quantization = architecture_facts(config), quantization_facts(config)
    weights = computed_weights(config, architecture, quantization)
    return Model("org/it", "org/it", "abc", architecture, weights, config, quantization=quantization)


@pytest.mark.parametrize(
    ("config", "machine", "precision"),
    [
        (GPT_OSS, "8xH100-80GB", "mxfp4"),
        (GPT_OSS, "1xRTX-PRO-6000", "mxfp4"),
        (DEEPSEEK_V3, "8xH200", "fp8_block"),
        (QWEN3_NEXT, "8xH100-80GB", "bf16"),
    ],
)
def test_models_that_no_compiler_knows_have_a_plan_on_gpus(config, machine, precision, overrides) -> None:
    asked = overrides(engine="tensorrt_llm_pytorch")
    plan = plan_any(load_description(machine), model_of(config), asked)
    assert (plan.chosen.engine, plan.chosen.precision) == ("tensorrt_llm_pytorch", precision)


@pytest.mark.parametrize("config", [GPT_OSS, DEEPSEEK_V3])
def test_elsewhere_the_refusal_says_which_kinds_serve_it_and_where(config, overrides) -> None:
    with pytest.raises(StokerError, match="tensorrt_llm_pytorch serves it on NVIDIA GPUs"):
        plan_any(load_description("cpu:16c-64g"), model_of(config), overrides())


def test_a_model_that_no_kind_knows_is_refused_with_what_is_supported(model, overrides) -> None:
    unheard = model("qwen2.5-0.5b", {"architectures": ["UnheardOfForCausalLM"]})
    for machine in ("cpu:8c-16g", "8xH100-80GB", "1xMI300X,cpu:8c-64g"):
        with pytest.raises(UnsupportedModelError, match="supported: BertForMaskedLM.*GptOssForCausalLM.*Qwen3Next"):
            make_plan(load_description(machine), unheard, compiled_kinds(), overrides())


@pytest.mark.slow
@pytest.mark.parametrize(
    "config", [GPT_OSS, {**QWEN3_NEXT, "architectures": ["UnheardOfForCausalLM"], "num_hidden_layers": 4}]
)
def test_an_empty_package_named_torch_changes_nothing(config, tmp_path: Path) -> None:
    """Of `stoker plan --machine`, run as a program: what is installed is no input of it."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    (tmp_path / "empty" / "torch").mkdir(parents=True)
    (tmp_path / "empty" / "torch" / "__init__.py").touch()
    shown = [_planned(tmp_path, path) for path in ("", str(tmp_path / "empty"))]
    assert shown[0] == shown[1]
    assert shown[0][0] == 0


def _planned(folder: Path, path: str) -> tuple[int, str, str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (path, os.environ.get("PYTHONPATH"))))}
    command = [sys.executable, "-m", "stoker", "plan", str(folder / "model"), "--machine", "8xH100-80GB,cpu:16c-64g"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return result.returncode, result.stdout, result.stderr
