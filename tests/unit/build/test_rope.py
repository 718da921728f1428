"""Rotary embeddings: the frequencies of transformers 5.24, which rope_reference.json holds, and one reading for all."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tests.unit.build.rope_sizes import SIZES, sized

from stoker.errors import DamagedModelError, UnsupportedModelError
from stoker.kinds.openvino.build.families import describe
from stoker.kinds.openvino.build.families.spec import Decoder, Rope
from stoker.resolve.rope import longest_context, rope_digest

REFERENCE = json.loads((Path(__file__).parent / "rope_reference.json").read_bytes())
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}
DEFAULT = {"rope_type": "default", "rope_theta": 1e6}
BOTH: dict[str, dict[str, Any]] = {
    "full_attention": DEFAULT,
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}
TWO_ROPES = ("Gemma3ForCausalLM", "Olmo3ForCausalLM")


def ropes_of(decoder: Decoder, by_layer: bool) -> dict[str, Rope | None]:
    """By layer type, or one for all that encode positions."""
    if by_layer:
        kinds = {layer.attention.window is not None: layer.attention.rope for layer in decoder.layers}
        return {"full_attention": kinds[False], "sliding_attention": kinds[True]}
    return {"": next(layer.attention.rope for layer in decoder.layers if layer.attention.rope)}


@pytest.mark.parametrize(
    "case", REFERENCE, ids=lambda case: f"{case['architecture']}-{json.dumps(case['config'])[:90]}"
)
def test_frequencies_are_those_of_transformers(case: dict[str, Any]) -> None:
    config = sized(case["architecture"], case["config"])
    if refused(config, case["context"]):
        return
    ropes = ropes_of(describe(config, case["context"]), "full_attention" in case["ropes"])
    assert ropes.keys() == case["ropes"].keys()
    for name, expected in case["ropes"].items():
        rope = ropes[name]
        assert rope is not None
        assert rope.frequencies == pytest.approx(expected["frequencies"], rel=1e-5)
        assert rope.amplitude == pytest.approx(expected["amplitude"], rel=1e-6)


def test_only_what_has_a_name_is_refused_of_the_reference() -> None:
    reasons = [refused(sized(case["architecture"], case["config"]), case["context"]) for case in REFERENCE]
    named = ("partial_rotary_factor", "rope_type", "rope_parameters", "rope_scaling")
    assert all(any(name in reason for name in named) for reason in reasons if reason)
    assert sum(map(bool, reasons)) <= 11


def refused(config: dict[str, Any], context: int) -> str:
    try:
        describe(config, context)
    except UnsupportedModelError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "Qwen3ForCausalLM", "Gemma2ForCausalLM"])
def test_planner_and_builder_agree_which_rope_counts(architecture: str) -> None:
    """The planner must not allow a context that the graph's frequencies were not scaled for."""
    scaled = sized(architecture, {"rope_scaling": YARN, "rope_parameters": DEFAULT})
    assert longest_context(scaled, 512) == 2048
    assert describe(scaled) == describe(sized(architecture, {"rope_scaling": YARN}))
    plain = sized(architecture, {"rope_parameters": DEFAULT, "rope_scaling": None})
    assert longest_context(plain, 512) == 512


def test_yarn_without_its_original_context_scales_the_stated_one() -> None:
    given = sized("LlamaForCausalLM", {"rope_scaling": {"type": "yarn", "factor": 4.0}})
    assert longest_context(given, 512) == 2048


def test_phi_calls_longrope_yarn_and_stretches_no_context() -> None:
    factors = {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
    given = sized("Phi3ForCausalLM", {"rope_scaling": {"type": "yarn", "factor": 4.0, **factors}})
    assert longest_context(given, 512) == 512


@pytest.mark.parametrize("nested", [False, True])
def test_gemma_3_as_transformers_5_5_saves_it(nested: bool) -> None:
    text = {"rope_parameters": {**BOTH, "rope_type": "default", "rope_theta": None}}
    clean = describe(sized("Gemma3ForCausalLM", {"rope_parameters": BOTH}))
    if nested:
        outer = {"architectures": ["Gemma3ForConditionalGeneration"], "vision_config": {}}
        assert describe({**outer, "text_config": {**SIZES, **text}}).layers == clean.layers
    else:
        assert describe(sized("Gemma3ForCausalLM", text)) == clean


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"rope_theta": math.nan}, "rope_theta"),
        ({"rope_theta": math.inf}, "rope_theta"),
        ({"rope_theta": 10**400}, "rope_theta"),
        ({"rope_theta": -1.0}, "rope_theta"),
        ({"rope_theta": True}, "rope_theta"),
        ({"rope_parameters": {"rope_theta": "1e4"}}, "rope_parameters.rope_theta"),
        ({"rope_scaling": {**YARN, "factor": 1e308}}, "rope_scaling.factor"),
        ({"rope_scaling": {**YARN, "factor": 1e5, "original_max_position_embeddings": 1 << 30}}, "rope_scaling.factor"),
        ({"rope_scaling": {**YARN, "factor": 0}}, "rope_scaling.factor"),
        ({"rope_scaling": {**YARN, "factor": [4]}}, "rope_scaling.factor"),
        ({"rope_scaling": {**YARN, "original_max_position_embeddings": 2.5}}, "original_max_position_embeddings"),
        ({"rope_scaling": {**YARN, "beta_fast": math.nan}}, "rope_scaling.beta_fast"),
        ({"rope_scaling": {"rope_type": {}, "factor": 1}}, "rope_parameters|rope_scaling"),
        ({"rope_scaling": "yarn"}, "rope_scaling"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "MixtralForCausalLM", "Gemma2ForCausalLM"])
def test_numbers_out_of_range_are_named(architecture: str, given: dict[str, Any], named: str) -> None:
    with pytest.raises((DamagedModelError, UnsupportedModelError), match=named):
        describe(sized(architecture, given))


@pytest.mark.parametrize(
    "given",
    [
        {"rope_parameters": {"rope_type": "linear", "factor": 8.0}},
        {"rope_parameters": {**BOTH, "factor": 8.0}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
    ],
)
@pytest.mark.parametrize("architecture", TWO_ROPES)
def test_no_flat_rope_is_ignored_where_each_layer_type_has_its_own(architecture: str, given: dict[str, Any]) -> None:
    with pytest.raises(DamagedModelError, match="rope_parameters"):
        describe(sized(architecture, given))


@pytest.mark.parametrize("architecture", TWO_ROPES)
@pytest.mark.parametrize("layer", BOTH)
def test_a_part_of_a_head_is_rotated_in_no_layer_type(architecture: str, layer: str) -> None:
    """transformers ignores it or fails, depending on the rope's type."""
    ropes = {**BOTH, layer: {**BOTH[layer], "partial_rotary_factor": 0.5}}
    with pytest.raises(UnsupportedModelError, match="partial_rotary_factor"):
        describe(sized(architecture, {"rope_parameters": ropes}))


def test_the_planner_takes_the_context_that_full_attention_reaches() -> None:
    assert longest_context(sized("Olmo3ForCausalLM", {"rope_scaling": YARN}), 512) == 2048


SPELLINGS = [
    {"rope_scaling": {"type": kind, "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}, "rope_theta": theta}
    for kind in ("longrope", "su", "yarn")
    for theta in (1e4, 5e5)
]


@pytest.mark.parametrize("given", SPELLINGS, ids=str)
def test_graphs_differ_only_where_the_digest_differs(given: dict[str, Any]) -> None:
    config = sized("Phi3ForCausalLM", {**given, "original_max_position_embeddings": 256})
    short, long = describe(config, 200), describe(config, 512)
    assert short != long
    assert rope_digest(config, 200) != rope_digest(config, 512)
