import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.kinds.openvino.plan.kind import openvino
from stoker.origin import Origin, Sourced
from stoker.plan.planner import longest_context, make_plan
from stoker.plan.types import Overrides
from stoker.resolve.model import Quantization

GIB = 1024**3
AWQ = Quantization("awq", 4, 64)
GPTQ = Quantization("gptq", 4, 128)


@pytest.mark.parametrize(
    ("name", "memory", "cores", "precision", "batch", "context"),
    [
        ("smollm2-135m", 2, 2, "int8", 32, 8192),
        ("qwen2.5-0.5b", 2, 2, "int8", 32, 8192),
        ("qwen2.5-0.5b", 64, 32, "int8", 128, 8192),
        ("phi-3-mini", 16, 8, "int8", 64, 4096),
        ("phi-3-mini", 4, 2, "int4", 10, 4096),
        ("llama-3.1-8b", 8, 4, "int4", 32, 8192),
        ("llama-3.1-8b", 16, 8, "int8", 64, 8192),
        ("qwen2.5-7b", 8, 4, "int4", 32, 8192),
        ("qwen3-30b-a3b", 32, 16, "int4", 64, 8192),
        ("qwen3-30b-a3b", 64, 16, "int8", 64, 8192),
        ("mixtral-8x7b", 32, 16, "int4", 64, 8192),
        ("llama-3.1-70b", 64, 32, "int4", 128, 8192),
        ("llama-3.1-70b", 256, 64, "int8", 128, 8192),
        ("llama-3.1-405b", 256, 64, "int4", 128, 8192),
    ],
)
def test_models_on_machines(plan, machine, name, memory, cores, precision, batch, context):
    chosen = plan(name, on=machine(memory, cores)).chosen
    assert (chosen.precision, chosen.max_batch_size, chosen.max_seq_len) == (precision, batch, context)
    assert (chosen.engine, chosen.kv_precision, chosen.activation_precision) == ("openvino", "u8", "bf16")
    assert (chosen.tensor_parallel, chosen.pipeline_parallel, chosen.devices) == (1, 1, ())


@pytest.mark.parametrize(
    ("name", "memory", "cores", "budget"),
    [
        ("qwen2.5-0.5b", 4, 2, (495_400_960, 203_440_128, 540_979_200, 478_150_656)),
        ("llama-3.1-8b", 16, 8, (8_035_159_552, 571_703_296, 522_035_200, 4_750_245_888)),
        ("mixtral-8x7b", 32, 16, (24_389_704_272, 748_650_496, 445_030_400, 4_005_822_464)),
    ],
)
def test_budgets_are_those_worked_out_by_hand_in_the_documentation(plan, machine, name, memory, cores, budget):
    found = plan(name, on=machine(memory, cores)).memory
    assert (found.weights, found.activations, found.runtime, found.kv.bytes) == budget


@pytest.mark.parametrize(("cores", "tokens"), [(2, 128), (4, 128), (8, 256)])
def test_steps_grow_with_cores_and_threads_are_cores(plan, machine, cores, tokens):
    chosen = plan("qwen2.5-0.5b", on=machine(16, cores)).chosen
    assert (chosen.max_num_tokens, chosen.threads) == (tokens, cores)


def test_int4_is_forced_by_memory_and_says_so(plan):
    found = plan("llama-3.1-8b", 8)
    assert found.chosen.profile == "openvino-int4-throughput"
    assert found.chosen.group_size == 128
    assert any("memory forces it" in reason.text for reason in found.reasons)
    assert found.rejected[0].profile == "openvino-int8-throughput"
    assert "more than the limit of 7.20 GiB" in found.rejected[0].reason


@pytest.mark.parametrize("precision", ["int4", "int4_full", "bf16", "f16", "f32", "int4_awq", "int4_gptq", "int8_sq"])
def test_every_precision_can_be_asked_for(plan, precision):
    found = plan("llama-3.1-8b", 128, precision=precision)
    assert found.chosen.precision == precision
    assert dict(found.sources)["precision"] == "flag --precision"
    assert any("asked for by flag --precision" in reason.text for reason in found.reasons)


def test_f32_is_f32_throughout(plan):
    chosen = plan("llama-3.1-8b", 128, precision="f32").chosen
    assert (chosen.kv_precision, chosen.activation_precision) == ("f32", "f32")


def test_the_goal_latency_keeps_int8_and_says_what_would_be_quicker(plan):
    found = plan("llama-3.1-8b", goal="latency")
    assert found.chosen.profile == "openvino-int8-latency"
    assert found.chosen.max_batch_size == 8
    assert any("--precision int4" in reason.text for reason in found.reasons)
    assert plan("llama-3.1-8b", goal="latency", precision="int4").chosen.profile == "openvino-int4-latency"


def test_a_profile_brings_its_goal(plan):
    assert plan("llama-3.1-8b", profile="openvino-int4-latency").chosen.profile == "openvino-int4-latency"


def test_a_goal_by_default_does_not_contradict_a_profile(model, machine, profiles):
    overrides = Overrides(
        profile=Sourced("openvino-int8-latency", Origin.FLAG, "--profile"),
        goal=Sourced("throughput", Origin.DEFAULT, "default"),
    )
    assert (
        make_plan(machine(16), model("qwen2.5-0.5b"), [openvino(profiles)], overrides).chosen.profile
        == "openvino-int8-latency"
    )


@pytest.mark.parametrize(
    ("isa", "activation"),
    [
        (("avx2",), "f32"),
        (("avx2", "avx512", "avx512_vnni"), "f32"),
        (("avx2", "avx512", "avx512_bf16"), "bf16"),
        (("avx2", "avx512", "avx512_bf16", "amx_bf16", "amx_int8"), "f32"),  # quicker, as was measured
        (("neon", "asimd_bf16"), "f32"),  # OpenVINO's kernels compute in bf16 on x86 only
    ],
)
def test_kernels_compute_in_what_the_processor_has(plan, machine, isa, activation):
    found = plan("llama-3.1-8b", on=machine(64, isa=isa))
    assert found.chosen.activation_precision == activation
    assert any(f"computes in {activation}" in reason.text for reason in found.reasons)


def test_a_wider_cache_than_the_kernels_makes_them_wider(plan):
    found = plan("llama-3.1-8b", kv_precision="f16")
    assert (found.chosen.kv_precision, found.chosen.activation_precision) == ("f16", "f32")
    assert dict(found.sources)["activation_precision"] == "planner"
    assert plan("llama-3.1-8b", kv_precision="bf16").chosen.activation_precision == "bf16"


@pytest.mark.parametrize(("quantization", "precision"), [(AWQ, "int4_awq"), (GPTQ, "int4_gptq")])
def test_a_quantised_checkpoint_keeps_its_integers(plan, model, quantization, precision):
    found = plan(of=model("llama-3.1-8b", quantization=quantization))
    assert found.chosen.precision == precision
    assert found.chosen.group_size == quantization.group_size
    assert any("nothing is calibrated" in reason.text for reason in found.reasons)


def test_gpus_are_seen_and_left_alone(plan, machine):
    found = plan("llama-3.1-8b", on=machine(64, gpus=2))
    assert found.chosen.devices == ()
    assert "2 GPUs found; this version has no engine for them; serving from the CPU" in map(str, found.reasons)


def test_every_other_profile_is_rejected_with_a_reason(plan, profiles):
    found = plan("llama-3.1-8b")
    rejected = [rejection.profile for rejection in found.rejected]
    assert sorted([*rejected, found.chosen.profile]) == sorted(profile.name for profile in profiles)
    why = {rejection.profile: rejection.reason for rejection in found.rejected}
    assert all(why.values())
    assert why["openvino-int4-throughput"] == "openvino-int8-throughput comes before it"  # it fits, with less quality
    assert why["openvino-int8-latency"] == "is for latency, and the goal is throughput"


def test_windows_and_experts_are_explained(plan):
    assert any("saves no cache" in reason.text for reason in plan("mistral-7b-v0.1").reasons)
    assert any("all 8 experts stay in memory" in reason.text for reason in plan("mixtral-8x7b").reasons)


def test_soft_capped_attention_is_planned_without_paging(plan):
    found = plan("gemma-2-9b", 64)
    assert found.chosen.kv_precision == found.chosen.activation_precision == "bf16"
    assert found.chosen.max_batch_size == 4
    assert found.memory.kv.blocks * found.memory.kv.block_tokens == 4 * found.chosen.max_seq_len
    assert any("cannot be paged" in reason.text for reason in found.reasons)
    assert plan("gemma-3-1b", 64).chosen.kv_precision == "u8"


def test_the_context_is_the_model_s_up_to_the_profile_s_cap(plan):
    phi = plan("phi-3-mini")
    assert phi.chosen.max_seq_len == 4096
    assert dict(phi.sources)["max_seq_len"] == "model"
    llama = plan("llama-3.1-8b")
    assert llama.chosen.max_seq_len == 8192
    assert any("the model's maximum is 131,072 (--max-seq-len)" in reason.text for reason in llama.reasons)


def test_yarn_stretches_the_context(model):
    rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}
    assert longest_context(model("qwen2.5-7b", {"rope_scaling": rope})) == 131_072
    linear = {"rope_type": "linear", "factor": 4.0}
    assert longest_context(model("qwen2.5-7b", {"rope_scaling": linear})) == 32_768


def test_the_cache_is_for_a_typical_load_and_not_all_memory(plan):
    found = plan("qwen2.5-0.5b", 256)
    assert found.memory.kv.blocks * found.memory.kv.block_tokens == 64 * 2048
    assert found.memory.total < 4 * GIB


def test_headroom_is_left_for_others(plan, machine):
    found = plan("llama-3.1-8b", 16)
    assert found.memory.limit == int(16 * GIB * 0.9)
    assert found.memory.total <= found.memory.limit


NAMES = ("smollm2-135m", "qwen2.5-0.5b", "phi-3-mini", "gemma-2-9b", "llama-3.1-8b", "qwen3-30b-a3b")


@given(
    name=st.sampled_from(NAMES),
    memory=st.integers(64, 600),
    cores=st.integers(1, 200),
    context=st.none() | st.integers(1, 4096),
    batch=st.none() | st.integers(1, 8),
)
def test_plans_are_pure_and_hold_what_they_promise(
    model, machine, profiles, overrides, name, memory, cores, context, batch
):
    here, that = machine(memory, cores), model(name)
    asked = overrides(**({"max_seq_len": context} if context else {}), **({"max_batch_size": batch} if batch else {}))
    found = make_plan(here, that, [openvino(profiles)], asked)
    again = make_plan(machine(memory, cores), model(name), [openvino(tuple(reversed(profiles)))], asked)
    assert found == again
    memory_budget, chosen = found.memory, found.chosen
    assert memory_budget.total <= memory_budget.limit
    assert memory_budget.kv.tokens >= chosen.max_seq_len
    assert memory_budget.kv.bytes == memory_budget.kv.tokens * memory_budget.kv.bytes_per_token
    assert chosen.max_seq_len <= longest_context(that)
    assert chosen.max_num_tokens >= chosen.max_batch_size
    assert context in (None, chosen.max_seq_len)
    assert batch in (None, chosen.max_batch_size)


@given(low=st.integers(4, 60), more=st.integers(0, 60))
def test_more_memory_never_gives_a_shorter_context_at_one_precision(plan, low, more):
    less = plan("qwen2.5-0.5b", low, precision="bf16", max_batch_size=2)
    larger = plan("qwen2.5-0.5b", low + more, precision="bf16", max_batch_size=2)
    assert larger.chosen.max_seq_len >= less.chosen.max_seq_len
    assert larger.memory.kv.blocks >= less.memory.kv.blocks


def test_planning_imports_nothing_heavy():
    code = (
        "import sys, stoker.plan.planner, stoker.plan.render, stoker.plan.catalogue;"
        "print([name for name in ('numpy', 'openvino', 'openvino_genai', 'huggingface_hub', 'pydantic') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
