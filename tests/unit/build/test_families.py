"""Configs: what is accepted, and that whatever would be silently ignored is refused by name."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import DamagedModelError, StokerError, UnsupportedModelError
from stoker.kinds.openvino.build.families import SUPPORTED, check_config, describe
from stoker.kinds.openvino.build.families.spec import Experts

PUBLISHED = sorted((Path(__file__).parents[1] / "configs").glob("*.json"))

SIZES = {
    "vocab_size": 256,
    "hidden_size": 128,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def config(architecture: str = "LlamaForCausalLM", **differences: Any) -> dict[str, Any]:
    return {"architectures": [architecture], **SIZES, **differences}


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_published_configs_are_accepted(path: Path) -> None:
    published = json.loads(path.read_text())
    layers = (published.get("text_config") or published)["num_hidden_layers"]
    assert len(describe(published).layers) == layers


def test_every_architecture_has_a_published_config() -> None:
    assert {name for path in PUBLISHED for name in json.loads(path.read_text())["architectures"]} >= SUPPORTED.keys()


@pytest.mark.parametrize("architecture", sorted(SUPPORTED))
def test_every_family_refuses_a_key_that_it_does_not_know(architecture: str) -> None:
    known = config(architecture, moe_intermediate_size=32, text_config=None)
    if architecture == "Gemma3ForConditionalGeneration":
        known = {"architectures": [architecture], "text_config": SIZES, "vision_config": {}}
    if architecture != "Qwen3MoeForCausalLM":
        known.pop("moe_intermediate_size", None)
    check_config(known)
    with pytest.raises(UnsupportedModelError, match="attention_twist = 0.5"):
        check_config({**known, "attention_twist": 0.5})


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (config("MambaForCausalLM"), "MambaForCausalLM"),
        ({"model_type": "llama"}, "none"),
        (config(hidden_act="relu2"), "hidden_act = 'relu2'"),
        (config(rope_scaling={"type": "dynamic", "factor": 2.0}), "rope_type = 'dynamic'"),
        (config(rope_scaling={"rope_type": "spiral"}), "rope_type = 'spiral'"),
        (config(rope_scaling={**LLAMA3, "short_mscale": 1.2}), "rope_scaling.short_mscale = 1.2"),
        (config(rope_parameters={"full_attention": {"rope_type": "default"}}), "full_attention"),
        (config(partial_rotary_factor=0.5), "partial_rotary_factor = 0.5"),
        (config(rope_parameters={"rope_type": "default", "partial_rotary_factor": 0.5}), "partial_rotary_factor = 0.5"),
        (config(rope_interleaved=True), "rope_interleaved = True"),
        (config(layer_types=["sliding_attention"] * 4), "layer_types"),
        (config(is_encoder_decoder=True), "is_encoder_decoder = True"),
        (config(sliding_window=4096), "sliding_window = 4096"),
        (config("MistralForCausalLM", attention_bias=True), "attention_bias = True"),
        (config("Phi3ForCausalLM", lm_head_bias=True), "lm_head_bias = True"),
        (config("Phi3ForCausalLM", rope_scaling=LLAMA3), "rope_type = 'llama3'"),
        (config("Qwen2ForCausalLM", layer_types=["chunked_attention"] * 4), "chunked_attention"),
        (config("Qwen2ForCausalLM", dual_chunk_attention_config={"chunk_size": 8}), "dual_chunk_attention_config"),
        (config("Gemma2ForCausalLM", use_bidirectional_attention=True), "use_bidirectional_attention = True"),
        (config("Gemma3ForCausalLM", attn_logit_softcapping=50.0), "attn_logit_softcapping = 50.0"),
        (config("MixtralForCausalLM", hidden_act="gelu"), "hidden_act = 'gelu'"),
        (config("GraniteForCausalLM", shared_intermediate_size=1024), "shared_intermediate_size = 1024"),
    ],
)
def test_what_is_not_implemented_is_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedModelError, match=named.replace(".", r"\.")):
        check_config(given)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (config(hidden_size=None), "hidden_size"),
        (config(num_hidden_layers="many"), "num_hidden_layers"),
        (config(num_key_value_heads=3), "num_attention_heads"),
        (config(rope_theta="big"), "rope_theta"),
        (config(rope_scaling=[1, 2]), "rope_scaling"),
        (config(tie_word_embeddings="yes"), "tie_word_embeddings"),
        (config("Qwen2ForCausalLM", layer_types=["full_attention"]), "layer_types"),
        (config("Olmo3ForCausalLM", sliding_window=None), "sliding_window"),
        (config("SmolLM3ForCausalLM", no_rope_layers=[1]), "no_rope_layers"),
        (
            config("Phi3ForCausalLM", rope_scaling={"type": "longrope", "short_factor": [1.0], "long_factor": []}),
            "fact",
        ),
    ],
)
def test_nonsense_is_damage(given: dict[str, Any], named: str) -> None:
    with pytest.raises(DamagedModelError, match=named):
        check_config(given)


@pytest.mark.parametrize("architecture", sorted(SUPPORTED))
@pytest.mark.parametrize(
    "value", ["x", -1, 0, 2.5, True, [1], [None], {"a": 1}, {"rope_type": "yarn", "factor": 0}], ids=repr
)
def test_no_value_of_a_wrong_kind_escapes_as_another_error(architecture: str, value: Any) -> None:
    good = config(architecture, moe_intermediate_size=32, text_config=SIZES)
    for key in {*good, *SUPPORTED[architecture].reads, "rope_scaling", "rope_parameters", "rope_theta", "head_dim"}:
        with contextlib.suppress(StokerError):
            check_config({**good, key: value})


def test_both_forms_of_rope_settings_mean_the_same() -> None:
    beside = describe(config(rope_scaling=LLAMA3, rope_theta=5000.0))
    within = describe(config(rope_parameters={**LLAMA3, "rope_theta": 5000.0}))
    assert beside == within
    assert beside != describe(config(rope_theta=5000.0))


def test_both_forms_of_gemma_ropes_mean_the_same() -> None:
    linear = {"rope_type": "linear", "factor": 8.0}
    beside = config("Gemma3ForCausalLM", rope_theta=1e6, rope_local_base_freq=1e4, rope_scaling=linear)
    within = config(
        "Gemma3ForCausalLM",
        rope_parameters={
            "full_attention": {**linear, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    )
    assert describe(beside) == describe(within)


def test_windows_cover_the_layers_that_the_config_means() -> None:
    windows = [layer.attention.window for layer in describe(config("Gemma2ForCausalLM", sliding_window=8)).layers]
    assert windows == [8, None, 8, None]
    olmo = config("Olmo3ForCausalLM", num_hidden_layers=5)
    assert [layer.attention.window for layer in describe(olmo).layers] == [4096, 4096, 4096, None, 4096]
    late = config("Qwen2ForCausalLM", use_sliding_window=True, sliding_window=8, max_window_layers=3)
    assert [layer.attention.window for layer in describe(late).layers] == [None, None, None, 8]
    off = config("Qwen2ForCausalLM", use_sliding_window=False, sliding_window=8, max_window_layers=0)
    assert {layer.attention.window for layer in describe(off).layers} == {None}
    assert describe(config("MistralForCausalLM")).layers[0].attention.window == 4096
    assert describe(config("MistralForCausalLM", sliding_window=None)).layers[0].attention.window is None


def test_expert_layers_follow_step_and_exceptions() -> None:
    experts = {"moe_intermediate_size": 32, "num_experts": 4, "decoder_sparse_step": 2, "mlp_only_layers": [3]}
    layers = describe(config("Qwen3MoeForCausalLM", **experts)).layers
    assert [isinstance(layer.mlp, Experts) for layer in layers] == [False, True, False, False]


def test_longrope_depends_on_the_longest_sequence() -> None:
    scaling = {"type": "longrope", "short_factor": [1.0] * 16, "long_factor": [2.0] * 16}
    phi = config("Phi3ForCausalLM", rope_scaling=scaling, original_max_position_embeddings=128)
    short, long = describe(phi, 128), describe(phi, 129)
    assert [rope.frequencies[0] for rope in (rope_of(short), rope_of(long))] == [1.0, 0.5]
    assert rope_of(short).amplitude == rope_of(long).amplitude == pytest.approx(math.sqrt(1 + math.log(4, 128)))


def rope_of(decoder: Any) -> Any:
    return decoder.layers[0].attention.rope


def test_checking_a_config_imports_no_engine() -> None:
    module = "stoker.kinds.openvino.build.families"
    code = f"import sys, {module};print(sorted({{'openvino', 'numpy', 'torch'}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"
