"""Plans for vLLM: what fits, in which precision, and how near the budget comes to what a card showed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.loading import load

from stoker.errors import DoesNotFitError, StokerError, UsageError
from stoker.kinds import plan_kinds
from stoker.kinds.vllm.graphs import decode_sizes, prefill_sizes
from stoker.kinds.vllm.plan.catalogue import load_vllm
from stoker.kinds.vllm.plan.checkpoint import checkpoint_of
from stoker.kinds.vllm.plan.kind import planning
from stoker.kinds.vllm.plan.memory import kv_bytes_per_token, step_bytes
from stoker.origin import Origin, Sourced
from stoker.plan.devices import Split
from stoker.plan.kind import Shape
from stoker.plan.planner import make_plan
from stoker.plan.render import pinned
from stoker.plan.types import Overrides, Plan
from stoker.probe.description import load_description
from stoker.resolve.model import Architecture, Model, Pooling, Quantization, Weights

gpu_table = load("gpu_table", Path(__file__).with_name("gpu_table.py"))
model_of = gpu_table.model_of
GIB, MIB = 1 << 30, 1 << 20


def plan(machine: str, model: str | Model, **overrides: Any) -> Plan:
    asked = {name: Sourced(value, Origin.FLAG, f"--{name}") for name, value in overrides.items()}
    found = model_of(model) if isinstance(model, str) else model
    return make_plan(load_description(machine), found, (planning(),), Overrides(**asked))


def quantised(method: str, bits: int, settings: dict[str, Any] | None = None) -> Model:
    model = model_of("llama-3.1-8b")
    return replace(model, quantization=Quantization(method, bits, 128 if bits == 4 else 0, settings or {}))


def test_the_budget_is_what_an_h200_showed() -> None:
    """Llama-3.1-8B's shape, 256 sequences, 2,048 tokens per step: vLLM's log, and nvidia-smi of the server. No prompts
    were scored."""
    memory = plan("H200", "llama-3.1-8b", max_seq_len=4096).memory
    step = step_bytes(model_of("llama-3.1-8b").architecture, Shape(256, 2048, 4096), load_vllm().constants, Split(1, 1))
    assert memory.weights == pytest.approx(15.0 * GIB, rel=0.01)
    assert step == pytest.approx(1.01 * GIB, rel=0.07)
    assert memory.activations == 2048 * 128256 * 11  # for the logits of prompts
    assert memory.runtime == pytest.approx(0.77 * GIB, rel=0.05)
    outside = memory.context
    shown = memory.total - memory.kv.bytes - memory.activations + step
    assert shown - outside == pytest.approx((15.0 + 1.01 + 0.77) * GIB, rel=0.02)
    # The server of a plan with 118.38 GiB of cache was seen to use 139,059 MiB, when graphs took 0.59 GiB.
    assert shown + (118.38 - 0.77 + 0.59) * GIB == pytest.approx(139_059 * MIB, rel=0.01)


@pytest.mark.parametrize(
    ("machine", "model", "precision", "tensor"),
    [
        ("H200", "llama-3.1-8b", "bf16", 1),
        ("T4", "llama-3.2-3b", "f16", 1),
        ("T4", "llama-3.1-8b", "int8_wo", 1),
        ("L4", "llama-3.1-8b", "bf16", 1),
        ("2xH200", "llama-3.1-70b", "bf16", 2),
        ("H100-80GB", "llama-3.1-70b", "fp8", 1),
        ("L40S", "llama-3.1-70b", "refused", 0),
        ("2xH100-80GB", "llama-3.1-70b", "bf16", 2),
        ("8xH100-80GB", "qwen3-235b-a22b", "bf16", 8),
    ],
)
def test_the_precision_is_the_checkpoint_s_where_it_fits(machine: str, model: str, precision: str, tensor: int) -> None:
    if precision == "refused":
        with pytest.raises(DoesNotFitError, match="does not fit"):
            plan(machine, model)
        return
    chosen = plan(machine, model).chosen
    assert (chosen.engine, chosen.precision, chosen.tensor_parallel) == ("vllm", precision, tensor)


def test_every_budget_stays_below_what_is_free() -> None:
    for machine in ("T4", "L4", "L40S", "H100-80GB", "2xH100-80GB", "8xH100-80GB", "GB10"):
        for name in ("llama-3.2-1b", "llama-3.1-8b", "mixtral-8x7b", "qwen3-30b-a3b", "gemma-2-9b"):
            try:
                found = plan(machine, name)
            except StokerError:
                continue
            assert 0 < found.memory.total <= found.memory.limit
            assert found.memory.kv.tokens >= found.chosen.max_seq_len


def test_the_plan_says_what_a_faster_precision_would_bring() -> None:
    lines = {reason.code: reason.text for reason in plan("H100-80GB", "llama-3.1-8b").reasons}
    assert "fp8 would be about 1.4 times as fast (--precision fp8" in lines["faster"]
    asked = plan("H100-80GB", "llama-3.1-8b", precision="fp8")
    assert "faster" not in {reason.code for reason in asked.reasons}
    assert "faster" not in {reason.code for reason in plan("A100-80GB", "llama-3.1-8b").reasons}


@pytest.mark.parametrize(
    ("method", "bits", "settings", "checkpoint", "precision"),
    [
        ("awq", 4, {}, "awq", "int4_awq"),
        ("gptq", 4, {}, "gptq", "int4_gptq"),
        ("fp8", 8, {}, "fp8", "fp8"),
        ("fp8", 8, {"weight_block_size": [128, 128]}, "fp8_block", "fp8_block"),
        ("mxfp4", 4, {}, "mxfp4", "mxfp4"),
        ("modelopt", 4, {"quantization": {"quant_algo": "NVFP4"}}, "nvfp4", "nvfp4"),
        *(
            (
                "compressed-tensors",
                bits,
                {"config_groups": {"group_0": {"weights": {"type": kind, "num_bits": bits}}}},
                checkpoint,
                precision,
            )
            for kind, bits, checkpoint, precision in (
                ("int", 4, "int4", "int4_awq"),
                ("int", 8, "int8", "int8_sq"),
                ("float", 8, "fp8", "fp8"),
            )
        ),
    ],
)
def test_a_quantised_checkpoint_keeps_its_numbers(
    method: str, bits: int, settings: dict[str, Any], checkpoint: str, precision: str
) -> None:
    model = quantised(method, bits, settings)
    assert checkpoint_of(model) == checkpoint
    assert plan("H100-80GB", model).chosen.precision == precision


@pytest.mark.parametrize("settings", [{}, {"config_groups": []}, {"config_groups": {"a": 1}}, {"config_groups": {}}])
def test_a_checkpoint_that_says_nothing_of_use_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(StokerError):
        plan("H100-80GB", quantised("compressed-tensors", 5, settings))


def test_an_fp8_cache_needs_a_gpu_that_reads_it() -> None:
    assert plan("H100-80GB", "llama-3.1-8b", kv_precision="fp8").memory.kv.bytes_per_token == 65_536
    with pytest.raises(UsageError, match="no fp8 KV cache on NVIDIA A100"):
        plan("A100-80GB", "llama-3.1-8b", kv_precision="fp8")


def test_latent_attention_keeps_one_vector_per_layer() -> None:
    """DeepSeek-V2-Lite: 27 layers, rank 512 and 64 elements of rotary keys, whole on every GPU."""
    model = model_of("llama-3.1-8b")
    config = {**model.config, "kv_lora_rank": 512, "qk_rope_head_dim": 64}
    latent = replace(model, config=config, architecture=replace(model.architecture, layers=27))
    assert kv_bytes_per_token(latent, "bf16", Split(1, 1)) == 27 * 576 * 2
    assert kv_bytes_per_token(latent, "bf16", Split(8, 1)) == 27 * 576 * 2


def test_compiled_engines_come_first_and_pytorch_after() -> None:
    def kind(buildable: set[str] | None) -> str:
        here, model = load_description("H100-80GB"), model_of("llama-3.1-8b")
        return make_plan(here, model, plan_kinds(), Overrides(), buildable).chosen.engine

    assert kind(None) == "tensorrt_llm"
    assert kind({"vllm", "tensorrt_llm_pytorch", "torch", "openvino"}) == "vllm"
    assert kind({"torch", "openvino"}) == "torch"


def test_decoding_is_captured_up_to_the_batch_and_prompts_as_vllm_does() -> None:
    assert decode_sizes(1) == (1,)
    assert decode_sizes(9)[-2:] == (8, 16)
    assert decode_sizes(256)[-1] == 256
    assert decode_sizes(4096) == prefill_sizes()
    assert len(prefill_sizes()) == 83  # counted in vLLM's log
    assert prefill_sizes(700)[-2:] == (672, 688)


def pooled(model: Model, method: str, longest: int) -> Model:
    return replace(model, pooling=Pooling(method, True, longest))


def bge() -> Model:
    shape = Architecture("BertModel", "bert", 12, 384, 1536, 12, 12, 32, 30522, 512, tied_embeddings=True)
    config = {"architectures": ["BertModel"], "max_position_embeddings": 512, "num_hidden_layers": 12}
    sizes = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12, "vocab_size": 30522}
    weights = Weights(33_360_000, {"F32": 133_440_000})
    return pooled(Model("org/bge", "org/bge", "abc", shape, weights, {**config, **sizes}), "cls", 512)


@pytest.mark.parametrize(("machine", "precision"), [("H100", "bf16"), ("L4", "bf16"), ("T4", "f16")])
def test_an_encoder_has_no_cache_and_reads_a_text_in_one_step(machine: str, precision: str) -> None:
    found = plan(machine, bge())
    chosen, memory = found.chosen, found.memory
    assert (chosen.purpose, chosen.precision, chosen.kv_precision) == ("embedding", precision, "none")
    assert (chosen.max_seq_len, memory.kv.bytes) == (512, 0)
    assert chosen.max_num_tokens >= chosen.max_seq_len
    names = [name.replace("-", "_") for name, _ in pinned(found)]
    again = plan(machine, bge(), **{name: getattr(chosen, name) for name in names})
    assert again.chosen == chosen


def test_a_decoder_that_embeds_keeps_its_cache() -> None:
    found = plan("H100", pooled(model_of("qwen3-8b"), "last", 8192))
    assert (found.chosen.purpose, found.chosen.kv_precision, found.chosen.max_seq_len) == ("embedding", "bf16", 8192)
    assert found.memory.kv.bytes > 0


def test_vectors_are_made_in_16_bits_only() -> None:
    with pytest.raises(UsageError, match="fp8"):
        plan("H100", bge(), precision="fp8")


def test_layers_for_further_tokens_take_room_where_they_guess() -> None:
    model = model_of("llama-3.1-8b")
    further = replace(model, config={**model.config, "num_nextn_predict_layers": 2})
    plain, guessing = plan("H200", further), plan("H200", further, speculative="mtp")
    assert guessing.chosen.speculative == "mtp"
    assert guessing.memory.kv.bytes_per_token == plain.memory.kv.bytes_per_token * 34 // 32
    layer = plain.memory.weights / 32
    assert 2 * layer < guessing.memory.weights - plain.memory.weights < 3 * layer
    with pytest.raises(UsageError) as refused:
        plan("H200", model, speculative="mtp")
    assert "no layers that predict further tokens" in refused.value.why


def test_a_head_takes_room_for_its_layer() -> None:
    model = model_of("llama-3.1-8b")
    config = {**model.config, "architectures": ["LlamaForCausalLMEagle3"], "draft_vocab_size": 32000}
    weights = Weights(400_000_000, {"BF16": 800_000_000})
    layer = replace(model.architecture, name="LlamaForCausalLMEagle3", layers=1)
    head = replace(model, reference="org/head", architecture=layer, config=config, weights=weights)
    asked = Overrides(speculative=Sourced("eagle3=org/head", Origin.FLAG, "--speculative"))
    guessing = make_plan(load_description("H200"), model, (planning(),), asked, draft=head)
    plain = plan("H200", "llama-3.1-8b")
    assert guessing.chosen.speculative == "eagle3"
    assert guessing.memory.weights == plain.memory.weights + 800_000_000
    assert guessing.memory.kv.bytes_per_token == plain.memory.kv.bytes_per_token * 33 // 32
