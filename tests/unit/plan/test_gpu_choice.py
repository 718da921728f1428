"""How GPUs, parallel sizes and profiles are chosen, what is refused and what falls back to the CPU."""

import json
import shlex
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planning import plan_any, plan_compiled

from stoker.chain import make_plan_for
from stoker.errors import DoesNotFitError, UnsupportedModelError, UsageError
from stoker.kinds import available_kinds
from stoker.kinds.tensorrt_llm.plan.catalogue import load_nvidia
from stoker.kinds.tensorrt_llm.plan.checkpoint import checkpoint_kind
from stoker.plan.render import command_line, plan_document, render_plan
from stoker.probe.description import load_description
from stoker.probe.machine import Machine
from stoker.progress import Silent
from stoker.resolve.model import Quantization
from stoker.settings.layers import load_settings

GIB = 1024**3
NVIDIA = load_nvidia()


@pytest.fixture
def choose(profiles, model, overrides):
    """`choose("llama-3.1-8b", "8xH100", goal="latency")`; `on` takes a machine, `of` a model."""

    def choose(name="", machine="1xL4", on=None, of=None, available=None, **given):
        here = on or load_description(machine)
        return plan_compiled(here, of or model(name), overrides(**given), available)

    return choose


def with_gpus(text: str, **changes: dict) -> Machine:
    """The described machine with fields of some GPUs changed: `with_gpus("2xL4", g0={"memory_free": 0})`."""
    found = load_description(text)
    gpus = tuple(replace(gpu, **changes.get(f"g{gpu.index}", {})) for gpu in found.gpus)
    return replace(found, gpus=gpus)


def in_use(size: int) -> dict[str, int]:
    return {"memory_total": 80 * GIB, "memory_free": 80 * GIB - size}


def test_busy_gpus_are_left_out_with_the_reason(choose):
    here = with_gpus("4xH100", g0=in_use(30 * GIB), g1=in_use(0), g2=in_use(GIB), g3=in_use(0))
    found = choose("llama-3.1-70b", on=here)
    assert found.chosen.devices == (1, 3)
    assert any(
        "GPU 0 (NVIDIA H100 80GB HBM3) is left out: it is busy: 30.00 GiB" in line.text for line in found.reasons
    )


def test_no_gpu_that_is_free_is_the_cpu_s_turn(choose):
    here = with_gpus("1xH100,cpu:16c-64g", g0=in_use(70 * GIB))
    found = choose("llama-3.1-8b", on=here)
    assert found.chosen.engine == "openvino"
    assert "no GPU is free" in found.reasons[0].text
    with pytest.raises(DoesNotFitError, match="no GPU is free"):
        choose("llama-3.1-8b", on=with_gpus("1xH100", g0=in_use(70 * GIB)))


def test_the_fullest_gpu_sets_the_limit(choose):
    here = with_gpus("2xH100", g0=in_use(0), g1=in_use(4 * GIB))
    assert choose("llama-3.1-70b", on=here).memory.limit == 76 * GIB


def test_a_layer_stays_within_one_nvlink_island(choose):
    pairs = {f"g{index}": {"nvlink_peers": (index ^ 1,)} for index in range(4)}
    here = with_gpus("4xRTX-A6000", **pairs)
    found = choose("llama-3.1-70b", on=here, precision="bf16")
    assert (found.chosen.tensor_parallel, found.chosen.pipeline_parallel) == (2, 2)
    assert found.chosen.devices == (0, 1, 2, 3)
    with pytest.raises(UsageError, match="NVLink joins 2 of the 4 free"):
        choose("llama-3.1-70b", on=here, tensor_parallel=4)


def test_the_smallest_island_that_does_is_taken(choose):
    links = {0: (1, 2, 3), 1: (0, 2, 3), 2: (0, 1, 3), 3: (0, 1, 2), 4: (5,), 5: (4,)}
    here = with_gpus("6xA100", **{f"g{index}": {"nvlink_peers": peers} for index, peers in links.items()})
    assert choose("llama-3.1-70b", on=here, precision="bf16").chosen.devices == (4, 5)


def test_latency_spreads_only_over_nvlink(choose):
    assert choose("llama-3.1-8b", "8xH100", goal="latency").chosen.tensor_parallel == 4
    assert choose("llama-3.1-8b", "8xH100-PCIE", goal="latency").chosen.tensor_parallel == 1


def test_gpus_of_different_kinds_do_not_work_together(choose):
    pair = load_description("2xL4").gpus
    larger = load_description("1xL40S").gpus[0]
    here = replace(load_description("2xL4"), gpus=(*pair, replace(larger, index=2, uuid="other")))
    assert choose("llama-3.1-8b", on=here).chosen.devices == (2,)


def test_mig_instances_serve_alone(choose):
    part = {"is_mig": True, "memory_total": 20 * GIB, "memory_free": 20 * GIB}
    here = with_gpus("2xH100", g0=part, g1=part)
    assert len(choose("llama-3.2-3b", on=here).chosen.devices) == 1
    with pytest.raises(DoesNotFitError):
        choose("llama-3.1-70b", on=here)


def test_a_gpu_whose_memory_is_not_known_is_left_out(choose):
    here = with_gpus("1xL4,cpu:8c-32g", g0={"memory_total": 0, "memory_free": 0})
    assert "does not tell how much memory" in choose("qwen2.5-0.5b", on=here).reasons[0].text


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ({"tensor_parallel": 3}, UsageError, "3 does not divide 32 attention heads (tensor-parallel may be 1, 2, 4, 8"),
        ({"tensor_parallel": 16}, DoesNotFitError, "the largest that fits: 8 GPUs"),
        ({"tensor_parallel": 0}, UsageError, "0 is not a number of at least 1"),
        ({"precision": "nvfp4"}, DoesNotFitError, "nvfp4 needs compute capability 10.0"),
        ({"precision": "int9"}, UsageError, "unknown precision 'int9'"),
        ({"profile": "tensorrt_llm-fp8"}, UsageError, "did you mean tensorrt_llm-fp8-"),
        (
            {"profile": "tensorrt_llm-fp8-latency", "precision": "bf16"},
            UsageError,
            "take --profile tensorrt_llm-bf16-la",
        ),
        (
            {"profile": "tensorrt_llm-fp8-latency", "goal": "throughput"},
            UsageError,
            "take --profile tensorrt_llm-fp8-th",
        ),
        ({"max_seq_len": 200_000}, UsageError, "its configuration allows 131,072"),
        ({"max_batch_size": 9000, "max_num_tokens": 100}, UsageError, "contradict each other"),
    ],
)
def test_overrides_that_cannot_be(choose, override, error, message):
    with pytest.raises(error) as caught:
        choose("llama-3.1-8b", "8xH100", **override)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("override", "name"), [({"max_seq_len": 131_072}, "max_seq_len"), ({"max_batch_size": 900}, "max_batch_size")]
)
def test_a_refused_limit_names_the_largest_that_fits(choose, override, name):
    with pytest.raises(DoesNotFitError, match="the largest that fits") as caught:
        choose("qwen3-32b" if name == "max_batch_size" else "llama-3.1-70b", "2xRTX-4090", **override)
    largest = int(caught.value.remedy.split()[-1])
    model = "qwen3-32b" if name == "max_batch_size" else "llama-3.1-70b"
    assert getattr(choose(model, "2xRTX-4090", **{name: largest}).chosen, name) == largest
    with pytest.raises(DoesNotFitError):
        choose(model, "2xRTX-4090", **{name: largest + 32})


def test_overrides_are_kept_and_named_as_sources(choose):
    found = choose("llama-3.1-8b", "8xH100", tensor_parallel=2, precision="fp8", max_seq_len=4096, kv_precision="f16")
    chosen, sources = found.chosen, dict(found.sources)
    assert (chosen.tensor_parallel, chosen.precision, chosen.max_seq_len) == (2, "fp8", 4096)
    assert chosen.kv_precision == "f16"
    assert sources["tensor_parallel"] == "flag --tensor-parallel"
    assert sources["precision"] == "flag --precision"


@pytest.mark.parametrize("available", [frozenset({"openvino"}), frozenset({"openvino", "torch"})])
def test_what_cannot_be_built_here_is_rejected_and_the_cpu_serves(choose, available):
    found = choose("llama-3.1-8b", "8xH100", available=available)
    assert found.chosen.engine == "openvino"
    assert found.reasons[0].text.startswith(
        "serving from the CPU, not from NVIDIA H100 80GB HBM3: tensorrt_llm engines need"
    )
    why = {one.profile: one.reason for one in found.rejected}
    assert "the NVIDIA image has it" in why["tensorrt_llm-fp8-throughput"]
    with pytest.raises(DoesNotFitError, match="NVIDIA image"):
        choose("llama-3.1-8b", "8xH100", available=available, profile="tensorrt_llm-fp8-throughput")
    with pytest.raises(DoesNotFitError, match="NVIDIA image.*possible on the CPU: bf16, f16"):
        choose("llama-3.1-8b", "8xH100", available=available, precision="fp8")


def test_only_the_available_kind_is_planned(choose):
    found = choose("llama-3.1-8b", "1xH100", available=frozenset({"tensorrt_llm_pytorch"}))
    assert found.chosen.engine == "tensorrt_llm_pytorch"


def test_a_precision_of_the_cpu_s_engine_alone_is_served_from_the_cpu(choose):
    found = choose("llama-3.1-8b", "1xH100,cpu:16c-64g", precision="int8")
    assert found.chosen.engine == "openvino"
    assert found.reasons[0].text == "serving from the CPU: only its engine has int8"


def test_a_machine_without_gpus_is_planned_as_before(choose, plan, machine, model, profiles):
    found = choose("llama-3.1-8b", on=machine(16))
    assert found == plan("llama-3.1-8b", 16)
    with pytest.raises(DoesNotFitError, match="no(ne)? was found"):
        choose("llama-3.1-8b", on=machine(16), profile="tensorrt_llm-fp8-throughput")


def test_every_profile_has_its_reason(choose, profiles):
    found = choose("llama-3.1-8b", "8xB200")
    named = sorted([found.chosen.profile, *(one.profile for one in found.rejected)])
    assert named == sorted([*(one.name for one in profiles), *(one.name for one in NVIDIA.profiles)])
    assert all(one.reason for one in found.rejected)


def test_quantising_to_fit_is_said(choose):
    found = choose("llama-3.1-70b", "1xH100")
    assert any("the plan quantises the checkpoint to make it fit" in line.text for line in found.reasons)
    assert any("calibrated on a small text" in line.text for line in found.reasons)


def test_what_is_in_no_table_is_said(choose):
    found = choose("qwen2.5-72b", "1xRTX-PRO-6000")
    assert any("is in no table of TensorRT-LLM 1.2.1: it may fail to build" in line.text for line in found.reasons)


def test_a_cache_that_turns_paged_context_attention_off_makes_prompts_one_step(choose):
    found = choose("llama-3.1-8b", "1xH100", kv_precision="int8")
    assert found.chosen.max_num_tokens >= found.chosen.max_seq_len
    assert any("turns paged context attention off" in line.text for line in found.reasons)
    usual = choose("llama-3.1-8b", "1xH100", kv_precision="fp8", precision="fp8")
    assert usual.chosen.max_num_tokens == 8192


@pytest.mark.parametrize(
    ("driver", "warned"), [("535.183.01", True), ("590.44.01", False), ("610.43", False), ("", False)]
)
def test_an_older_driver_than_the_image_s_is_a_warning(choose, driver, warned):
    found = choose("llama-3.1-8b", on=replace(load_description("1xL4"), driver=driver))
    assert any("is older than the 590.44" in line.text for line in found.reasons) == warned


def test_host_memory_is_checked_where_it_is_known(choose):
    assert choose("llama-3.1-8b", "1xH100,cpu:16c-64g").chosen.engine == "tensorrt_llm"
    small = choose("llama-3.1-8b", "1xH100,cpu:16c-32g")
    assert small.chosen.engine == "tensorrt_llm_pytorch"
    why = {one.profile: one.reason for one in small.rejected}["tensorrt_llm-bf16-throughput"]
    assert why.startswith("building tensorrt_llm takes at least 32.91 GiB of host memory (2.2 times the weights)")
    unknown = choose("llama-3.1-70b", "8xH100")
    assert any("not checked: the host is not described" in line.text for line in unknown.reasons)
    between = choose("llama-3.1-8b", "1xH100,cpu:16c-36g")
    assert any("which may be too little" in line.text for line in between.reasons)


@pytest.mark.parametrize(
    ("quantization", "machine", "engine", "precision"),
    [
        (Quantization("awq", 4, 128), "1xL4", "tensorrt_llm", "int4_awq"),
        (Quantization("gptq", 4, 64, {"desc_act": False}), "1xL4", "tensorrt_llm", "int4_gptq"),
        (Quantization("gptq", 4, 128, {"desc_act": True}), "1xL4", "tensorrt_llm_pytorch", "int4_gptq"),
        (Quantization("modelopt", 8, 0, {"quant_algo": "FP8"}), "1xL4", "tensorrt_llm_pytorch", "fp8"),
        (Quantization("modelopt", 4, 16, {"quant_algo": "NVFP4"}), "1xB200", "tensorrt_llm_pytorch", "nvfp4"),
        (Quantization("fp8", 8, 0, {"weight_block_size": [128, 128]}), "1xH100", "tensorrt_llm_pytorch", "fp8_block"),
        (Quantization("fbgemm_fp8", 8), "1xH100", "tensorrt_llm", "fp8"),
    ],
)  # fmt: skip
def test_a_checkpoint_s_own_quantisation_is_kept(choose, model, quantization, machine, engine, precision):
    found = choose(of=model("llama-3.1-8b", quantization=quantization), machine=machine)
    assert (found.chosen.engine, found.chosen.precision) == (engine, precision)
    assert any("the checkpoint is" in line.text and "numbers are kept" in line.text for line in found.reasons)
    if quantization.group_size and precision.startswith("int4"):
        assert found.chosen.group_size == quantization.group_size


def test_the_cache_that_a_checkpoint_was_calibrated_for_is_kept(choose, model):
    settings = {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}
    quantised = model("llama-3.1-8b", quantization=Quantization("modelopt", 8, 0, settings))
    assert choose(of=quantised, machine="1xH100").chosen.kv_precision == "fp8"


def test_what_no_kind_reads_is_refused(choose, model):
    odd = model("llama-3.1-8b", quantization=Quantization("bitsandbytes", 4))
    with pytest.raises(UnsupportedModelError, match="quantised as bitsandbytes 4-bit"):
        choose(of=odd, machine="1xH100")
    assert checkpoint_kind(Quantization("modelopt", 0, 0, {"quant_algo": "ODD"})) == "modelopt ODD"


def test_modelopt_s_own_file_nests_its_settings():
    assert checkpoint_kind(Quantization("modelopt", 4, 16, {"quantization": {"quant_algo": "NVFP4"}})) == "nvfp4"


@pytest.mark.parametrize(
    ("architecture", "engine"),
    [
        ("GptOssForCausalLM", "tensorrt_llm_pytorch"),
        ("Qwen3NextForCausalLM", "tensorrt_llm_pytorch"),
        ("Qwen3_5ForCausalLM", "transformers than the 4.57.3"),
        ("UnheardOfForCausalLM", "is not among the models of TensorRT-LLM 1.2.1"),
    ],
)
def test_the_gate_of_architectures(choose, model, overrides, architecture, engine):
    other = model("qwen3-8b", {"architectures": [architecture]})
    if engine.startswith("tensorrt"):
        assert choose(of=other, machine="1xH100").chosen.engine == engine
        return
    with pytest.raises(UnsupportedModelError, match=f"architecture {architecture} is not supported.*supported: Bert"):
        choose(of=other, machine="1xH100")
    found = plan_any(load_description("1xH100,cpu:16c-64g"), other, overrides())
    assert found.chosen.engine == "torch"
    assert any(engine in one.reason for one in found.rejected)


@pytest.mark.parametrize(
    ("name", "machine", "given"),
    [
        ("llama-3.1-70b", "8xH100", {}),
        ("llama-3.1-70b", "4xA10G", {}),
        ("qwen2.5-72b", "2xRTX-4090", {}),
        ("llama-3.1-8b", "8xH100", {"goal": "latency"}),
    ],
)
def test_the_spelled_out_command_gives_the_same_plan(choose, name, machine, given):
    first = choose(name, machine, **given)
    words = shlex.split(command_line(first))
    flags = {flag[2:].replace("-", "_"): value for flag, value in zip(words[3::2], words[4::2], strict=True)}
    again = choose(name, machine, **{key: int(value) if value.isdigit() else value for key, value in flags.items()})
    assert again.chosen == first.chosen
    assert again.memory == first.memory


def test_the_text_and_the_document_tell_of_gpus(choose):
    found = choose("llama-3.1-70b", "8xH100")
    text = render_plan(found)
    assert "8 of 8 GPUs (NVIDIA H100 80GB HBM3, 79.52 GiB free)" in text
    assert "Memory of each GPU" in text
    assert "communication" in text
    document = json.loads(json.dumps(plan_document(found)))
    assert document["memory"]["total"] == found.memory.total
    assert "--tensor-parallel 2" in document["command"]


def test_the_same_four_values_give_the_same_plan(choose):
    assert choose("mixtral-8x7b", "4xA10G") == choose("mixtral-8x7b", "4xA10G")


@pytest.mark.parametrize("precision", ["bf16", "fp8", "int4_awq"])
def test_more_memory_never_gives_a_shorter_context(choose, precision):
    contexts = []
    for size in range(8 * 4, 40 * 4):
        memory = size * GIB // 4
        here = with_gpus("1xL40S", g0={"memory_total": memory, "memory_free": memory})
        try:
            contexts.append(choose("llama-3.1-8b", on=here, precision=precision).chosen.max_seq_len)
        except DoesNotFitError:
            contexts.append(0)
    assert contexts == sorted(contexts)
    assert contexts[0] < contexts[-1] == 32_768


def test_serve_takes_what_can_be_built_and_plan_shows_all(tmp_path):
    chosen = load_settings({"model": "demo", "cache": str(tmp_path)}, {})
    here = load_description("1xH100,cpu:8c-16g")
    served = make_plan_for(chosen, Silent(), weights=False, machine=here)
    shown = make_plan_for(chosen, Silent(), weights=False, machine=here, buildable=False)
    assert (served.chosen.engine, shown.chosen.engine) == ("openvino", "tensorrt_llm")
    assert served.chosen.engine in available_kinds()


NAMES = ("smollm2-135m", "qwen2.5-7b", "gemma-2-27b", "llama-3.1-70b", "qwen3-30b-a3b", "mixtral-8x7b")


@given(
    name=st.sampled_from(NAMES),
    product=st.sampled_from(["A100", "L4", "RTX-4090", "H100", "B200", "RTX-PRO-6000"]),
    count=st.sampled_from([1, 2, 3, 4, 8]),
    used=st.floats(0, 0.09),
    goal=st.sampled_from(["throughput", "latency"]),
    context=st.none() | st.integers(1, 4096),
)
@settings(max_examples=60)
def test_plans_hold_what_they_promise(model, profiles, overrides, name, product, count, used, goal, context):
    found = load_description(f"{count}x{product}")
    gpus = tuple(replace(gpu, memory_free=int(gpu.memory_total * (1 - used))) for gpu in found.gpus)
    asked = overrides(goal=goal, **({"max_seq_len": context} if context else {}))
    try:
        plan = plan_compiled(replace(found, gpus=gpus), model(name), asked)
    except DoesNotFitError:
        return
    memory, chosen = plan.memory, plan.chosen
    assert plan == plan_compiled(replace(found, gpus=gpus), model(name), asked)
    assert memory.total <= memory.limit <= gpus[0].memory_free
    assert memory.kv.tokens >= chosen.max_seq_len
    assert chosen.max_num_tokens >= chosen.max_batch_size
    assert chosen.tensor_parallel * chosen.pipeline_parallel == len(set(chosen.devices)) <= count
    assert context in (None, chosen.max_seq_len)
