"""Damaged and hostile files of a model: a plan, or an error that says which file and key; never a crash."""

from __future__ import annotations

import copy
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.planning import plan_any

from stoker.errors import DamagedModelError, ModelError, StokerError
from stoker.kinds import kind_named
from stoker.kinds.known import check_known
from stoker.kinds.openvino.build.families import SUPPORTED, describe
from stoker.plan.types import Overrides, Plan
from stoker.probe.description import load_description
from stoker.progress import Silent
from stoker.resolve.checkpoint import check_tokenizer
from stoker.resolve.model import Model
from stoker.resolve.resolve import resolve

pytestmark = pytest.mark.slow

CONFIGS = {path.stem: json.loads(path.read_text()) for path in (Path(__file__).parents[1] / "configs").glob("*.json")}
MACHINES = [load_description("1xH100-80GB"), load_description("cpu:16c-64g")]
NUMBERS = [0, 1, -1, 3, 2**31, 2**63, 10**18, 10**400, -(10**400), 0.5, -0.0, 1e-308, 1e308, math.nan, math.inf]
OTHERS: list[Any] = [None, True, False, "", "x", "12", [], [1], [None], [[]], {}, {"a": 1}, ["full_attention"] * 3]
DEEP = 50_000

Key = tuple[str, ...]


def keys_of(document: Any, at: Key = ()) -> Iterator[Key]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield (*at, key)
            yield from keys_of(value, (*at, key))


def changed(document: Any, at: Key, value: Any) -> Any:
    result = copy.deepcopy(document)
    place = result
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = value
    return result


ROPES = ["rope_theta", "rope_scaling", "rope_parameters", "sliding_window", "num_experts_per_tok", "mlp_only_layers"]
ROPE_KEYS = ["rope_type", "factor", "original_max_position_embeddings", "rope_theta", "low_freq_factor", "beta_fast"]
PLACES = [(name, key) for name, config in sorted(CONFIGS.items()) for key in [*keys_of(config), *((k,) for k in ROPES)]]


def resolved(config: Any, more: dict[str, bytes] | None = None) -> Model:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder, "model")
        directory.mkdir()
        for name, text in {"config.json": json.dumps(config).encode(), **(more or {})}.items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_bytes(text)
        return resolve(str(directory), Path(folder), Silent(), weights=False, check=check_known)


def planned(model: Model) -> list[Plan]:
    plans = [plan_any(machine, model, Overrides()) for machine in MACHINES]
    for plan in plans:
        kind_named(plan.chosen.engine).build.key.choices(plan)
    return plans


def survives(action: Callable[[], Any]) -> None:
    error = fault(action)
    assert error is None or error.exit_code in (64, 65, 69, 74), error
    assert len(str(error)) < 2000


def fault(action: Callable[[], Any]) -> StokerError | None:
    try:
        action()
    except StokerError as error:
        return error
    return None


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(PLACES), st.one_of(st.sampled_from(NUMBERS), st.sampled_from(OTHERS), st.integers(), st.floats())
)
@example(("llama-3.1-8b", ("num_hidden_layers",)), 10**18)
@example(("llama-3.1-8b", ("head_dim",)), 10**9)
@example(("qwen2.5-7b", ("max_window_layers",)), math.inf)
@example(("qwen2.5-7b", ("rope_theta",)), math.nan)
@example(("gemma-2-9b", ("query_pre_attn_scalar",)), -1)
@example(("qwen3-30b-a3b", ("mlp_only_layers",)), 7)
@example(("gemma-3-4b", ("text_config",)), [])
def test_one_changed_value(place: tuple[str, Key], value: Any) -> None:
    name, key = place
    survives(lambda: planned(resolved(changed(CONFIGS[name], key, value))))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(CONFIGS)),
    st.sampled_from(["rope_scaling", "rope_parameters"]),
    st.dictionaries(
        st.sampled_from([*ROPE_KEYS, "full_attention", "sliding_attention"]),
        st.sampled_from([*NUMBERS, *OTHERS, "yarn", "longrope", "llama3", "linear", "dynamic", "mrope", "su"]),
    ),
)
@example("qwen2.5-7b", "rope_scaling", {"rope_type": "yarn", "factor": 1e308, "original_max_position_embeddings": 512})
@example("phi-3-mini", "rope_scaling", {"rope_type": "longrope", "factor": 2.0, "short_factor": [math.nan] * 48})
def test_any_rope(name: str, key: str, rope: dict[str, Any]) -> None:
    config = CONFIGS[name]
    place = ("text_config", key) if "text_config" in config else (key,)
    survives(lambda: planned(resolved(changed(config, place, rope))))


QUANTIZED = ["quant_method", "bits", "num_bits", "group_size", "desc_act", "sym", "zero_point", "version", "format"]
METHODS = ["awq", "gptq", "fp8", "mxfp4", "bitsandbytes", "compressed-tensors", "modelopt", "NVFP4", "gemm"]
NESTED = ["quantization", "quant_algo", "config_groups", "weights", "load_in_4bit", "modules_to_not_convert", "ignore"]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["llama-3.1-8b", "qwen3-30b-a3b", "gemma-3-4b"]),
    st.recursive(
        st.sampled_from([*NUMBERS, *OTHERS, *METHODS]),
        lambda value: st.dictionaries(st.sampled_from([*QUANTIZED, *NESTED]), value, max_size=5),
        max_leaves=12,
    ),
    st.booleans(),
)
@example("llama-3.1-8b", {"quant_method": "awq", "bits": 4, "group_size": 10**400}, False)
@example("llama-3.1-8b", {"quant_method": ["awq"], "bits": "4"}, False)
@example("llama-3.1-8b", {"quantization": {"quant_algo": {}, "group_size": math.inf}}, True)
def test_any_quantisation(name: str, said: Any, apart: bool) -> None:
    if apart:
        survives(lambda: planned(resolved(CONFIGS[name], {"hf_quant_config.json": json.dumps(said).encode()})))
    else:
        survives(lambda: planned(resolved({**CONFIGS[name], "quantization_config": said})))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(SUPPORTED)), st.data())
def test_what_the_builder_describes_is_finite(architecture: str, data: st.DataObject) -> None:
    """Whatever is accepted gives numbers, and no more of them than a model can have."""
    name = data.draw(st.sampled_from([one for one, c in sorted(CONFIGS.items()) if c["architectures"] == [architecture]]
                                     or ["llama-3.1-8b"]))  # fmt: skip
    key = data.draw(st.sampled_from([key for key in keys_of(CONFIGS[name]) if len(key) == 1]))
    try:
        decoder = describe(changed(CONFIGS[name], key, data.draw(st.sampled_from(NUMBERS))))
    except ModelError:
        return
    assert len(decoder.layers) <= 10_000
    assert math.isfinite(decoder.norm_eps)
    assert decoder.norm_eps > 0
    for layer in decoder.layers[:2]:
        rope = layer.attention.rope
        assert math.isfinite(layer.attention.scale)
        assert rope is None or all(math.isfinite(frequency) for frequency in rope.frequencies)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b'{"a": ' + b"[" * DEEP + b"]" * DEEP + b"}", "config.json"),
        (b'{"hidden_size": 1, "hidden_size": 2}', "hidden_size"),
        (b'{"rope_theta": NaN}', "rope_theta"),
        (b'{"rope_scaling": {"factor": Infinity}}', "rope_scaling.factor"),
        (b'{"x": [{"y": 1e999}]}', "x.y"),
        (b'{"vocab_size": ' + b"9" * 5000 + b"}", "config.json"),
        (b"[]", "config.json"),
        (b"\xff\xfe", "config.json"),
        (b"", "config.json"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_sound_json_is_named(text: bytes, named: str) -> None:
    with pytest.raises(DamagedModelError, match=named):
        resolved(None, {"config.json": text})


@pytest.mark.parametrize(
    "given",
    [
        b"{",
        b"[]",
        b'{"eos_token_id": "2"}',
        b'{"eos_token_id": [2, "x"]}',
        b'{"eos_token_id": true}',
        b'{"eos_token_id": 1.5}',
        b'{"bos_token_id": {}}',
        b'{"temperature": "hot"}',
        b'{"temperature": NaN}',
        b'{"top_k": [50]}',
        b'{"do_sample": "yes"}',
        b'{"max_new_tokens": 1' + b"0" * 100 + b"}",
    ],
)
def test_a_broken_generation_config_is_named_before_anything_is_built(given: bytes) -> None:
    with pytest.raises(DamagedModelError, match=r"generation_config\.json") as caught:
        resolved(CONFIGS["llama-3.1-8b"], {"generation_config.json": given})
    assert caught.value.exit_code == 74


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_published_files_are_sound(name: str) -> None:
    settings = {"eos_token_id": [1, 2], "pad_token_id": -1, "temperature": 0.6, "top_k": None, "do_sample": True}
    model = resolved(CONFIGS[name], {"generation_config.json": json.dumps(settings).encode()})
    assert model.architecture.layers


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["generation_config.json", "hf_quant_config.json", "tokenizer_config.json", "modules.json",
                     "1_Pooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json",
                     "model.safetensors.index.json"]),
    st.dictionaries(
        st.sampled_from(["quantization", "quant_algo", "group_size", "chat_template", "eos_token_id", "metadata",
                         "weight_map", "max_seq_length", "model_max_length", "prompts", "default_prompt_name",
                         "pooling_mode", "pooling_mode_cls_token", "type", "path"]),
        st.sampled_from([*NUMBERS, *OTHERS, "cls", {"total_size": "12"}, {"total_size": -1}, {"a": "b.safetensors"}]),
    ),
    st.booleans(),
)  # fmt: skip
def test_any_other_file(name: str, document: dict[str, Any], listed: bool) -> None:
    text = json.dumps([document] if listed else document).encode()
    modules = json.dumps([{"type": "a.Transformer"}, {"type": "a.Pooling", "path": "1_Pooling"}]).encode()
    bert = {"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 99, "max_position_embeddings": 64,
            "type_vocab_size": 2}  # fmt: skip
    survives(lambda: planned(resolved(bert, {"modules.json": modules, name: text})))
    survives(lambda: planned(resolved(CONFIGS["qwen3-8b"], {name: text})))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"model": None},
        {"model": {"vocab": 7}},
        {"model": {"vocab": {}}, "added_tokens": 3},
        {"model": {"vocab": {}}, "added_tokens": [{"id": "1", "content": "x"}]},
        {"model": {"vocab": {}}, "added_tokens": [{"id": 1, "content": None}]},
    ],
)
def test_a_tokenizer_without_a_vocabulary_is_named(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(DamagedModelError, match=r"tokenizer\.json"):
        check_tokenizer(tmp_path, ["tokenizer.json"], "here")
