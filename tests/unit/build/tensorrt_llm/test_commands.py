"""Command lines of every precision and family, held against the documented tables."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.loading import load

from stoker.errors import BuildError, StokerError
from stoker.kinds.tensorrt_llm.build.commands import Order, steps
from stoker.kinds.tensorrt_llm.plan.catalogue import Support

pytestmark = pytest.mark.slow

orders = load("orders", Path(__file__).with_name("orders.py"))
NVIDIA, model_of, order_of, plan_of = orders.NVIDIA, orders.model_of, orders.order_of, orders.plan_of

MODELS = {
    "LlamaForCausalLM": "llama-3.1-8b",
    "MistralForCausalLM": "mistral-7b-v0.3",
    "MixtralForCausalLM": "mixtral-8x7b",
    "Qwen2ForCausalLM": "qwen2.5-7b",
    "Qwen3ForCausalLM": "qwen3-8b",
    "Qwen3MoeForCausalLM": "qwen3-30b-a3b",
    "Gemma2ForCausalLM": "gemma-2-9b",
    "Gemma3ForCausalLM": "gemma-3-1b",
    "Phi3ForCausalLM": "phi-4",
    "GraniteForCausalLM": "granite-3.1-2b",
}
MACHINES = ("4xA100-80GB", "4xL40S", "4xH100", "4xB200", "4xRTX-PRO-6000")
ALGORITHMS = {
    "bf16": None,
    "f16": None,
    "fp8": "FP8",
    "nvfp4": "NVFP4",
    "int8_sq": "W8A8_SQ_PER_CHANNEL",
    "int8_wo": "W8A16",
    "int4_wo": "W4A16",
    "int4_awq": "W4A16_AWQ",
    "w4a8_awq": "W4A8_AWQ",
}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True}
ROWWISE = {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}


def precisions(architecture: str) -> list[str]:
    verdict = NVIDIA.models[architecture]["tensorrt_llm"]
    assert isinstance(verdict, Support)
    return sorted((verdict.listed | verdict.unproven) - {"int4_gptq"})


CASES = [(architecture, precision) for architecture in MODELS for precision in precisions(architecture)]


@pytest.mark.parametrize(("architecture", "precision"), CASES)
def test_the_tools_take_what_the_plan_says(architecture, precision, obeyed):
    """On the first machine that can, with each cache that it offers there."""
    model = model_of(MODELS[architecture])
    made = set()
    for machine in MACHINES:
        for cache in ("bf16", "f16", "fp8", "int8"):
            try:
                plan = plan_of(model, machine, precision=precision, kv_precision=cache)
            except StokerError:
                continue
            config = obeyed(plan)
            quantization = config["pretrained_config"]["quantization"]
            assert quantization["quant_algo"] == ALGORITHMS[precision]
            assert quantization["kv_cache_quant_algo"] == {"fp8": "FP8", "int8": "INT8"}.get(cache)
            assert config["build_config"]["max_seq_len"] == plan.chosen.max_seq_len
            made.add((machine, cache))
    assert len(made) > 1


@pytest.mark.parametrize("name", ["llama-3.1-70b", "qwen2.5-72b", "gemma-2-27b", "phi-4"])
@pytest.mark.parametrize("goal", ["throughput", "latency"])
def test_several_gpus(name, goal, obeyed):
    plan = plan_of(model_of(name), "4xH100", goal=goal, tensor_parallel=2)
    config = obeyed(plan)
    assert config["pretrained_config"]["mapping"] == {"world_size": 2, "tp_size": 2, "pp_size": 1}


def test_pipeline_stages_where_the_converter_makes_them(obeyed):
    plan = plan_of(model_of("llama-3.1-8b"), "4xL40S", pipeline_parallel=2, tensor_parallel=2)
    assert obeyed(plan)["pretrained_config"]["mapping"] == {"world_size": 4, "tp_size": 2, "pp_size": 2}
    for name in ("gemma-2-9b", "phi-4"):
        with pytest.raises(StokerError, match="makes no pipeline stages"):
            plan_of(model_of(name), "4xL40S", pipeline_parallel=2, tensor_parallel=1)


@pytest.mark.parametrize(
    ("name", "own", "precision", "algorithm"),
    [
        ("llama-3.1-8b", AWQ, "int4_awq", "W4A16_GPTQ"),
        ("qwen2.5-7b", AWQ, "int4_awq", "W4A16_GPTQ"),
        ("llama-3.1-8b", GPTQ, "int4_gptq", "W4A16_GPTQ"),
        ("qwen3-8b", GPTQ, "int4_gptq", "W4A16_GPTQ"),
        ("llama-3.1-405b", ROWWISE, "fp8", "FP8_PER_CHANNEL_PER_TOKEN"),
    ],
)
def test_a_quantised_checkpoint_keeps_its_numbers(name, own, precision, algorithm, obeyed):
    plan = plan_of(model_of(name, own), "8xH100")
    assert plan.chosen.precision == precision
    first, _ = steps(order_of(plan))
    assert first.tool == "convert"
    assert "--use_weight_only" not in first.arguments
    assert obeyed(plan)["pretrained_config"]["quantization"]["quant_algo"] == algorithm


@pytest.mark.parametrize("name", ["gemma-2-9b", "phi-4", "granite-3.1-2b"])
def test_a_converter_that_does_not_read_a_quantised_checkpoint_is_known_before_the_build(name):
    with pytest.raises(StokerError):
        plan_of(model_of(name, AWQ), "1xH100", precision="int4_awq")


def test_an_eight_bit_cache_on_a_quantised_checkpoint_is_only_what_its_converter_offers(obeyed):
    with_fp8 = plan_of(model_of("llama-3.1-8b", AWQ), "1xH100", kv_precision="fp8")
    assert obeyed(with_fp8)["pretrained_config"]["quantization"]["kv_cache_quant_algo"] == "FP8"
    for name, cache in (("llama-3.1-8b", "int8"), ("qwen2.5-7b", "fp8")):
        with pytest.raises(StokerError, match=f"no {cache} cache"):
            plan_of(model_of(name, AWQ), "1xH100", kv_precision=cache)


@pytest.mark.parametrize(
    ("name", "own", "precision"),
    [("llama-3.1-8b", None, "bf16"), ("llama-3.1-8b", None, "fp8"), ("qwen2.5-7b", AWQ, "int4_awq")],
)
def test_an_engine_with_adapters_is_built_for_the_plan_s_rank_and_every_projection(name, own, precision, obeyed):
    plan = plan_of(model_of(name, own), "1xH100", precision=precision, max_loras=4, max_lora_rank=24)
    without = plan_of(model_of(name, own), "1xH100", precision=precision)
    built = obeyed(plan)
    assert built["build_config"]["max_lora_rank"] == 24
    assert built["build_config"]["lora_plugin"] == built["pretrained_config"]["dtype"]
    assert set(built["build_config"]["lora_target_modules"]) == {
        *("attn_q", "attn_k", "attn_v", "attn_dense", "mlp_h_to_4h", "mlp_4h_to_h", "mlp_gate")
    }
    assert plan.memory.adapters > without.memory.adapters == 0
    assert "lora_plugin" not in obeyed(without)["build_config"]
    said = next(reason.text for reason in plan.reasons if reason.code == "adapters")
    assert "not run on real hardware yet" in said


@pytest.mark.parametrize(
    ("name", "given", "why"),
    [
        ("gemma-2-9b", {}, "Stoker has them for LlamaForCausalLM"),
        ("phi-4", {}, "Stoker has them for LlamaForCausalLM"),
        ("qwen3-30b-a3b", {}, "Stoker has them for LlamaForCausalLM"),
        ("mistral-nemo-12b", {}, "32 heads of 128 for a width of 5120"),
        ("llama-3.1-8b", {"precision": "int8_sq"}, "TensorRT-LLM describes them with f16, bf16, fp8, int4_awq"),
    ],
)
def test_adapters_that_no_engine_takes_are_refused_with_the_reason(name, given, why):
    with pytest.raises(StokerError, match="takes no LoRA adapters") as refused:
        plan_of(model_of(name), "1xH100", max_loras=1, max_lora_rank=8, engine="tensorrt_llm", **given)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda words: [*words, "--lora_target_modules", "q_proj"], "invalid choice"),
        (lambda words: [*words, "--gemm_plugins", "auto"], "unrecognized arguments"),
        (lambda words: [*words, "--max_lora_ranks", "8"], "unrecognized arguments"),
        (lambda words: ["int9" if word == "bfloat16" else word for word in words], "invalid choice"),
        (lambda words: [*words, "--workers", "2"], "came twice"),
    ],
)
def test_the_stand_ins_refuse_what_the_tables_do_not_list(tools, change, said, capsys, monkeypatch):
    _, build = steps(order_of(plan_of(model_of("llama-3.1-8b"), "1xH100")))
    read = tools["trtllm_build"].read
    assert read("build", build.arguments).gemm_plugin == "bfloat16"
    with pytest.raises(SystemExit):
        read("build", change(build.arguments))
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--use_fp8_context_fmha", "enable", "needs FP8 weights"),
        ("--gemm_plugin", "float16", "float16 for bfloat16 weights"),
        ("--gemm_plugin", "nvfp4", "with other weights"),
        ("--max_num_tokens", "4", "fewer tokens"),
        ("--kv_cache_type", "continuous", "no in-flight batching"),
    ],
)
def test_the_stand_ins_refuse_combinations(tools, flag, value, said, obeyed, tmp_path, monkeypatch):
    plan = plan_of(model_of("llama-3.1-8b"), "1xH100")
    obeyed(plan)
    monkeypatch.chdir(next(tmp_path.glob("done*")))
    _, build = steps(order_of(plan))
    words = list(build.arguments)
    words[words.index(flag) + 1] = value
    options = tools["trtllm_build"].read("build", words)
    with pytest.raises(AssertionError, match=said):
        tools["trtllm_build"].check(options, json.loads(Path("checkpoint/config.json").read_text()))


def test_every_architecture_with_an_engine_path_has_a_converter_whose_flags_are_documented(tools):
    compiled = {name for name, kinds in NVIDIA.models.items() if isinstance(kinds["tensorrt_llm"], Support)}
    assert set(NVIDIA.converters) == compiled
    tables = sys.modules["tables"].TABLES
    for converter in NVIDIA.converters.values():
        named = (converter.source, converter.tensor, converter.pipeline, converter.workers, converter.fp8_cache)
        assert {flag for flag in (*named, *converter.fixed) if flag} <= set(tables[f"convert_{converter.folder}"])


def test_every_flag_has_its_reason_and_no_flag_comes_twice():
    for name in ("llama-3.1-8b", "gemma-2-9b", "qwen3-30b-a3b"):
        for step in steps(order_of(plan_of(model_of(name), "1xH100"))):
            names = [flag.name for flag in step.flags]
            assert len(names) == len(set(names))
            assert all(flag.reason for flag in step.flags)


def test_ranks_are_made_side_by_side_where_the_host_holds_them():
    plan = plan_of(model_of("llama-3.1-70b"), "4xH100", tensor_parallel=4)
    assert order_of(plan).workers == 4
    least = int(2.5 * 2 * plan.model.weights.parameters)
    for share, workers in ((4, 4), (3, 3), (1, 1), (0.5, 1)):
        cpu = replace(plan.machine.cpu, memory_available=int(least * share / 4) + 1000)
        assert order_of(replace(plan, machine=replace(plan.machine, cpu=cpu))).workers == workers


def test_what_no_tool_makes_is_refused():
    plan = plan_of(model_of("llama-3.1-8b", AWQ), "1xH100")
    order = order_of(plan)
    wrong = Order(order.model, replace(order.chosen, precision="fp8"), order.converter, 1, True)
    with pytest.raises(BuildError, match="no tool of TensorRT-LLM makes fp8 of a checkpoint that is awq"):
        steps(wrong)
