"""The graph itself: damage and leftovers are named, plain precisions, batches with padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import golden_run
import numpy as np
import openvino as ov
import pytest
from golden_run import Stateful
from golden_weights import weight, write_safetensors

from stoker.errors import DamagedModelError, UnsupportedModelError
from stoker.kinds.openvino.build.builder import build_graph
from stoker.kinds.openvino.build.checkpoint import open_checkpoint
from stoker.kinds.openvino.build.layerwise import Joint
from stoker.kinds.openvino.build.plain import PlainEncoding, stored


def graph_of(name: str, directory: Path, changes: dict[str, Any]) -> ov.Model:
    """A golden case's graph with some tensors changed, added, or (None) taken away."""
    golden = golden_run.load(name)
    tensors = {key: weight(key, tuple(shape), 1.0) for key, shape in golden.facts["shapes"].items()}
    tensors = {key: value for key, value in {**tensors, **changes}.items() if value is not None}
    write_safetensors(directory / "model.safetensors", tensors)
    return build_graph(golden.facts["config"], open_checkpoint(directory), PlainEncoding("f32"))


@pytest.mark.parametrize(
    "name", ["model.layers.1.mlp.up_proj.weight", "model.norm.weight", "model.embed_tokens.weight", "lm_head.weight"]
)
def test_a_missing_tensor_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DamagedModelError, match=f"tensor {name} is missing"):
        graph_of("llama_mha", tmp_path, {name: None})


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("llama_mha", "model.layers.0.self_attn.k_proj.weight"),
        ("llama_mha", "model.layers.0.input_layernorm.weight"),
        ("llama_mha", "model.embed_tokens.weight"),
        ("mixtral", "model.layers.0.block_sparse_moe.experts.3.w2.weight"),
        ("mixtral", "model.layers.0.block_sparse_moe.gate.weight"),
    ],
)
def test_a_wrong_shape_is_named(case: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(DamagedModelError, match=f"tensor {name} has the wrong shape"):
        graph_of(case, tmp_path, {name: np.ones((3, 5), np.float32)})


@pytest.mark.parametrize("name", ["model.layers.0.self_attn.q_proj.bias", "model.layers.0.self_attn.sinks"])
def test_a_tensor_without_a_place_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=f"tensor {name}"):
        graph_of("llama_mha", tmp_path, {name: np.ones(64, np.float32)})


@pytest.mark.parametrize("case", ["llama_mha", "mixtral"])
def test_weights_that_are_no_floats_are_refused(case: str, tmp_path: Path) -> None:
    """As in FP8 checkpoints, whose bits must not be taken for values."""
    name = next(
        name for name in golden_run.load(case).facts["shapes"] if name.endswith(("up_proj.weight", "w3.weight"))
    )
    shape = tuple(golden_run.load(case).facts["shapes"][name])
    with pytest.raises(UnsupportedModelError, match=f"tensor {name} is stored as F8_E4M3"):
        graph_of(case, tmp_path, {name: np.ones(shape, np.uint8)})


def test_quantised_experts_are_refused(tmp_path: Path) -> None:
    name = "model.layers.0.block_sparse_moe.experts.0.w1.qweight"
    with pytest.raises(UnsupportedModelError, match=f"tensor {name}"):
        graph_of("mixtral", tmp_path, {name: np.ones((8, 8), np.float32)})


def test_harmless_leftovers_are_accepted(tmp_path: Path) -> None:
    extra = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(16, np.float32),
        "model.layers.0.self_attn.q_proj.bias": np.zeros(64, np.float32),
    }
    graph_of("llama_mha", tmp_path, extra)


def test_a_tied_model_may_repeat_its_embedding_or_have_a_head_of_its_own(tmp_path: Path) -> None:
    embedding = weight("model.embed_tokens.weight", (256, 64), 1.0)
    for head, matrices in ((embedding, 1), (2 * embedding, 2)):
        model = graph_of("llama_gqa_tied", tmp_path, {"lm_head.weight": head})
        names = [node.get_friendly_name() for node in model.get_ops()]
        assert sum(name in ("model.embed_tokens.weight", "lm_head.weight") for name in names) == matrices


@pytest.mark.parametrize(("precision", "bound"), [("bf16", 0.05), ("f16", 0.01)])
def test_half_precisions_stay_close(precision: str, bound: float, tmp_path: Path) -> None:
    golden = golden_run.load("llama_mha")
    model = golden_run.build(golden, tmp_path, precision)
    constants = [node for node in model.get_ops() if node.get_friendly_name().endswith("_proj.weight")]
    assert {node.get_element_type().get_type_name() for node in constants} == {precision}
    error, _ = golden_run.logits_errors(Stateful(model), golden.prompts[0])
    assert 0 < error < bound


def test_rounding_to_bf16_is_to_nearest_even() -> None:
    values = np.array([1.0, 1.00390625, 1.01171875, -3.0, 65504.0], np.float32)
    assert stored(values, "bf16").tolist() == [0x3F80, 0x3F80, 0x3F82, 0xC040, 0x4780]


def test_constants_share_the_checkpoints_memory(tmp_path: Path) -> None:
    golden = golden_run.load("llama_mha")
    golden_run.build(golden, tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    model = build_graph(golden.facts["config"], checkpoint, PlainEncoding("f32"))
    name = "model.layers.0.mlp.down_proj.weight"
    constant = next(node for node in model.get_ops() if node.get_friendly_name() == name)
    assert constant.data.ctypes.data == checkpoint.tensor(name).data.ctypes.data


@pytest.mark.parametrize("name", ["llama_mha", "mistral_window", "gemma2"])
def test_left_padding_in_a_batch_changes_nothing(name: str, tmp_path: Path) -> None:
    golden = golden_run.load(name)
    model = golden_run.build(golden, tmp_path)
    long, short = golden.inputs[2], golden.inputs[1]
    gap = len(long) - len(short)
    mask = np.ones((2, len(long)), np.int64)
    mask[1, :gap] = 0
    inputs = {
        "input_ids": np.array([long, [0] * gap + short]),
        "attention_mask": mask,
        "position_ids": np.array([np.arange(len(long)), np.maximum(np.arange(len(long)) - gap, 0)]),
        "beam_idx": np.arange(2, dtype=np.int32),
    }
    compiled = ov.Core().compile_model(model, "CPU", golden_run.EXACT)
    logits = compiled(inputs)["logits"]
    assert golden_run.relative(logits[0, golden.prompts[2].prefill_at], golden.prompts[2].prefill) < 1e-3
    assert golden_run.relative(logits[1, gap + golden.prompts[1].prefill_at], golden.prompts[1].prefill) < 1e-3


@pytest.mark.parametrize("case", ["gemma2", "gemma3", "mixtral", "phi3_longrope_long", "qwen2_window", "smollm3"])
def test_layers_that_were_taken_apart_are_joined_to_the_same_model(case: str, tmp_path: Path) -> None:
    """What a layer shares with the others (masks, angles, states) is connected again, each to its own kind."""
    golden = golden_run.load(case)
    whole = golden_run.build(golden, tmp_path)
    seen: list[ov.Model] = []

    def unchanged(layer: ov.Model, joint: Joint) -> ov.Model:
        assert {node.get_friendly_name() for node in layer.get_parameters()} == set(joint.inputs)
        seen.append(layer.clone())
        return seen[-1]

    facts = golden.facts
    joined = build_graph(
        facts["config"], open_checkpoint(tmp_path), PlainEncoding("f32"), facts["max_seq_len"], unchanged
    )
    assert len(seen) == facts["config"].get("text_config", facts["config"])["num_hidden_layers"] + 1
    assert len(joined.get_parameters()) == 4
    tokens = golden.inputs[0]
    first, second = Stateful(whole), Stateful(joined)
    assert np.array_equal(first.prefill(tokens), second.prefill(tokens))
    assert np.array_equal(first.step(tokens[:1]), second.step(tokens[:1]))
