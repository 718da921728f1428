"""EAGLE-3 heads in a plan: what is accepted, what it takes in memory, and what is said of a wrong one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.planning import compiled_kinds
from tests.unit.plan.conftest import build_machine, build_model, build_overrides

from stoker.errors import DamagedModelError, UsageError
from stoker.plan.planner import make_plan
from stoker.plan.types import Plan
from stoker.progress import Silent
from stoker.resolve.heads import check_head_tensors, is_head, seen_layers
from stoker.resolve.local import DEMO_DIRECTORY, resolve_directory
from stoker.resolve.model import Model

HEAD = {"architectures": ["LlamaForCausalLMEagle3"], "num_hidden_layers": 1, "draft_vocab_size": 32000}
NESTED = {"architectures": ["Eagle3Speculator"], "speculators_model_type": "eagle3", "draft_vocab_size": 32000}


def planned(head: Model | None, memory: float = 64) -> Plan:
    given = {"speculative": f"eagle3={head.reference}"} if head else {}
    model = build_model("llama-3.1-8b")
    return make_plan(build_machine(memory), model, compiled_kinds(), build_overrides(**given), draft=head)


def head(**changes: object) -> Model:
    return build_model("llama-3.1-8b", {**HEAD, **changes})


def test_a_head_takes_room_for_itself_its_embedding_and_its_cache():
    plain, guessing = planned(None), planned(head())
    assert (guessing.chosen.speculative, guessing.chosen.draft) == ("eagle3", "org/llama-3.1-8b@abc123")
    added = guessing.memory.weights - plain.memory.weights
    own, table = head().weights.parameters, 128256 * 4096
    assert own + table <= added < 1.2 * (own + table)
    layer = guessing.memory.kv.bytes_per_token / 33  # 32 layers of the model, one of the head
    assert layer == pytest.approx(plain.memory.kv.bytes_per_token / 32, rel=0.1)
    assert guessing.memory.activations > plain.memory.activations


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"architectures": ["LlamaForCausalLM"], "draft_vocab_size": None}, "not an EAGLE-3 head"),
        ({"hidden_size": 2048, "num_attention_heads": 16}, "hidden size of 2,048, org/llama-3.1-8b has 4,096"),
        ({"target_hidden_size": 5120}, "hidden size of 5,120"),
        ({"vocab_size": 151936}, "vocabulary of 151,936, org/llama-3.1-8b has 128,256"),
        ({"draft_vocab_size": 200000}, "guesses among 200,000 tokens"),
    ],
)
def test_a_head_for_another_model_is_refused(changes: dict[str, object], why: str):
    with pytest.raises(UsageError, match="cannot guess tokens of") as refused:
        planned(head(**changes))
    assert why in refused.value.why
    head_wanted, _, _ = refused.value.remedy.partition(", or ")
    assert head_wanted == "name an EAGLE-3 head that was trained for org/llama-3.1-8b"


def test_a_head_that_the_builder_does_not_know_is_refused_with_its_reason():
    with pytest.raises(UsageError, match="is not available") as refused:
        planned(head(architectures=["Eagle3DeepseekV2ForCausalLM"]))
    assert "Eagle3DeepseekV2ForCausalLM are not supported" in refused.value.why
    with pytest.raises(UsageError) as refused:
        planned(head(norm_before_residual=True))
    assert "norm_before_residual" in refused.value.why


@pytest.mark.parametrize(
    "changes",
    [
        {"architectures": ["LlamaForCausalLM"]},
        {"max_window_layers": 36, "sliding_window": None, "use_sliding_window": False, "rope_scaling": None},
    ],
)
def test_heads_as_they_are_published_have_a_plan(changes: dict[str, object]):
    assert planned(head(**changes)).chosen.speculative == "eagle3"


def test_the_layers_that_a_head_sees():
    assert seen_layers({}, 32) == (2, 16, 29)
    assert seen_layers({"eagle_config": {"eagle_aux_hidden_state_layer_ids": [1, 3, 5]}}, 6) == (1, 3, 5)
    with pytest.raises(DamagedModelError, match="eagle_aux_hidden_state_layer_ids"):
        seen_layers({"eagle_aux_hidden_state_layer_ids": [1, 3, 7]}, 6)


def test_a_head_whose_numbers_are_nested_is_read():
    inner = {name: value for name, value in build_model("llama-3.1-8b").config.items() if name != "architectures"}
    found = build_model("llama-3.1-8b", {**NESTED, "transformer_layer_config": {**inner, "num_hidden_layers": 1}})
    assert is_head(found.config)
    assert found.architecture.layers == 1


def written(folder: Path, **tensors: tuple[int, ...]) -> Model:
    """A head for the demo model, without a tokenizer, as heads are published."""
    folder.mkdir()
    config = json.loads((DEMO_DIRECTORY / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **HEAD, "draft_vocab_size": 512}))
    save_file(
        {name.replace("__", "."): np.zeros(shape, np.float32) for name, shape in tensors.items()},
        folder / "model.safetensors",
    )
    return resolve_directory(folder, "h", "h", folder, Silent(), weights=True, check=lambda _: None)


def test_tensors_that_contradict_the_configuration_are_refused(tmp_path: Path):
    model = resolve_directory(DEMO_DIRECTORY, "demo", "demo", tmp_path, Silent(), weights=True, check=lambda _: None)
    right = {"fc__weight": (256, 768), "lm_head__weight": (512, 256), "d2t": (512,)}
    check_head_tensors(model, written(tmp_path / "right", **right))
    without = {name: shape for name, shape in right.items() if name != "d2t"}
    with pytest.raises(UsageError) as refused:
        check_head_tensors(model, written(tmp_path / "without", **without))
    assert "its tensor d2t is missing" in refused.value.why
    with pytest.raises(UsageError) as refused:
        check_head_tensors(model, written(tmp_path / "narrow", **{**right, "fc__weight": (256, 512)}))
    assert "its tensor fc.weight is [256, 512], and config.json means [256, 768]" in refused.value.why


def test_a_head_is_no_draft():
    given = build_overrides(speculative="draft=org/head")
    with pytest.raises(UsageError, match="is an EAGLE-3 head, not a model") as refused:
        make_plan(build_machine(64), build_model("llama-3.1-8b"), compiled_kinds(), given, draft=head())
    assert "--speculative eagle3=org/llama-3.1-8b" in refused.value.remedy


def test_a_model_is_no_head():
    with pytest.raises(UsageError) as refused:
        planned(replace(build_model("llama-3.1-8b"), reference="org/small"))
    assert "--speculative draft=org/small" in refused.value.remedy
