"""Configs of transformers 5 as transformers 4 reads them: the same rotary embeddings, without `rope_parameters`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.unit.build.rope_sizes import SIZES, sized

from stoker.kinds.openvino.build.families import describe
from stoker.kinds.tensorrt_llm.build.offered import offer, put_older_form
from stoker.resolve.older_form import in_older_form

REFERENCE = json.loads((Path(__file__).parent / "rope_reference.json").read_bytes())
NEWER = [
    case
    for case in REFERENCE
    if case["config"].get("rope_parameters")
    and not any(word in str(case["config"]) for word in ("dynamic", "partial_rotary_factor"))
]
THETA = {"architectures": ["LlamaForCausalLM"], "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, **SIZES}


@pytest.mark.parametrize("case", NEWER, ids=lambda case: f"{case['architecture']}-{json.dumps(case['config'])[:80]}")
def test_it_means_the_same(case: dict[str, Any]) -> None:
    given = sized(case["architecture"], case["config"])
    older = in_older_form(given)
    if "rope_parameters" in older:
        assert older is given  # which transformers 4 has no form for
        return
    for context in (100, 512):
        assert describe(older, context) == describe(given, context)


def test_what_needs_no_change_is_not_changed() -> None:
    for config in (
        {**SIZES, "rope_theta": 1e6, "architectures": ["LlamaForCausalLM"]},
        {**SIZES, "rope_parameters": {}},
    ):
        assert in_older_form(config) is config


def test_the_text_tower_keeps_its_place() -> None:
    both = {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 2e6}, "sliding_attention": None}
    outer = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": {**SIZES, "rope_parameters": both}}
    older = in_older_form(outer)["text_config"]
    assert isinstance(older, dict)
    assert (older["rope_theta"], older["rope_local_base_freq"]) == (2e6, 1e4)
    assert older["rope_scaling"] == {"rope_type": "linear", "factor": 8.0}
    assert "rope_parameters" not in older


def model_with(directory: Path, config: dict[str, Any]) -> Path:
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "model.safetensors").write_bytes(b"weights")
    return directory


def test_tools_are_given_a_folder_with_the_older_form(tmp_path: Path) -> None:
    directory = model_with(tmp_path / "model", THETA)
    offer(directory, tmp_path / "offered")
    assert json.loads((tmp_path / "offered/config.json").read_bytes())["rope_theta"] == 5e5
    assert (tmp_path / "offered/model.safetensors").read_bytes() == b"weights"
    assert json.loads((directory / "config.json").read_bytes()) == THETA


def test_or_a_link_where_it_is_that_already(tmp_path: Path) -> None:
    directory = model_with(tmp_path / "model", {**SIZES, "architectures": ["LlamaForCausalLM"]})
    offer(directory, tmp_path / "offered")
    assert (tmp_path / "offered").readlink() == directory


def test_a_hard_link_to_the_models_own_file_is_replaced(tmp_path: Path) -> None:
    directory = model_with(tmp_path / "model", THETA)
    (tmp_path / "checkpoint").mkdir()
    os.link(directory / "config.json", tmp_path / "checkpoint/config.json")
    put_older_form(tmp_path / "checkpoint")
    assert "rope_parameters" not in json.loads((tmp_path / "checkpoint/config.json").read_bytes())
    assert json.loads((directory / "config.json").read_bytes()) == THETA
