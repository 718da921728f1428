"""Every precision, built for real: how near its answers are to f32, and that its weights stay compressed."""

from __future__ import annotations

from pathlib import Path

import openvino as ov
import pytest
from built_engines import chosen, compiled, divergence, is_filled, log_probabilities, matrix_types
from openvino._offline_transformations import paged_attention_transformation

from stoker.build.worker import run_build
from stoker.errors import UnsupportedModelError, UsageError
from stoker.kinds.openvino import KIND
from stoker.progress import Silent
from stoker.resolve.resolve import resolve

LAYER_MATRICES = 6 * 4  # queries, keys and values are one, and so are gate and up


def divergence_of(precision, demo_engine, reference) -> float:
    ids, expected = reference
    return divergence(expected, log_probabilities(demo_engine(precision)[0], ids))


# The bounds for int8 and int4 are promises; the others follow from what the formats can hold.
@pytest.mark.parametrize(
    ("precision", "bound"),
    [
        ("f16", 1e-5),
        ("bf16", 1e-5),
        ("int8", 0.01),
        ("int4", 0.2),
        ("int4_full", 0.2),
        ("int4_gptq", 0.2),
        ("int8_sq", 0.1),
    ],
)
def test_answers_stay_near_f32(precision, bound, demo_engine, reference):
    assert divergence_of(precision, demo_engine, reference) < bound


@pytest.mark.parametrize("calibrated", ["int4_awq", "int4_gptq"])
def test_calibration_improves_on_plain_int4(calibrated, demo_engine, reference):
    plain = divergence_of("int4", demo_engine, reference)
    assert divergence_of(calibrated, demo_engine, reference) < plain


@pytest.mark.parametrize(
    ("precision", "types"),
    [
        ("int8", {"u8": LAYER_MATRICES + 1}),
        ("int4", {"i4": LAYER_MATRICES, "u8": 1}),
        ("int4_full", {"i4": LAYER_MATRICES + 1}),
        ("int4_awq", {"u4": LAYER_MATRICES, "u8": 1}),
        ("int4_gptq", {"u4": LAYER_MATRICES, "u8": 1}),
        ("int8_sq", {"i8": LAYER_MATRICES + 1}),
    ],
)
def test_the_cpu_plugin_keeps_the_weights_compressed(precision, types, demo_engine):
    assert matrix_types(demo_engine(precision)[0]) == types


@pytest.mark.parametrize("precision", ["bf16", "int8", "int4", "int4_full", "int4_awq", "int4_gptq", "int8_sq"])
def test_paged_attention_accepts_the_graph(precision, demo_engine):
    graph = ov.Core().read_model(demo_engine(precision)[0] / "openvino_model.xml")
    paged_attention_transformation(graph)
    operations = [node.get_type_name() for node in graph.get_ops()]
    assert operations.count("PagedAttentionExtension") == 6
    assert "ReadValue" not in operations


def test_only_bf16_is_built_for_few_rows(demo_engine):
    engines = {precision: compiled(demo_engine(precision)[0]) for precision in ("bf16", "f16", "int8", "int4")}
    assert [precision for precision, model in engines.items() if is_filled(model)] == ["bf16"]


def test_the_record_says_how_the_engine_was_made(demo_engine):
    directory, record = demo_engine("int4_awq")
    assert record["precision"] == "int4_awq"
    assert record["calibration"]["source"] == "package"
    assert record["calibration"]["samples"] > 16
    assert len(record["calibration"]["sha256"]) == 64
    assert record["method"] == {"group_size": 128, "awq": True, "scale_estimation": True}
    assert set(record["seconds"]) == {"graph", "calibrate", "save"}
    assert set(record["versions"]) == {"openvino", "nncf", "numpy"}
    assert record["graph_bytes"] == sum(file.stat().st_size for file in directory.glob("openvino_model.*"))
    assert record["peak_rss_bytes"] > record["graph_bytes"]


def test_the_engine_directory_holds_what_serving_needs(demo_engine):
    directory, record = demo_engine("int8")
    names = {file.name for file in directory.iterdir()}
    assert {"openvino_model.xml", "openvino_model.bin", "tokenizer.json", "tokenizer_config.json"} <= names
    assert {"generation_config.json", "chat_template.jinja", "config.json"} <= names
    assert names == {"openvino_model.xml", "openvino_model.bin", *record["companions"]}


def test_the_same_model_builds_to_the_same_bytes(demo_engine, tmp_path):
    directory, _ = demo_engine("int4")
    run_build(KIND.build, resolve("demo", tmp_path / "cache", Silent()), chosen("int4"), tmp_path, Silent())
    assert (tmp_path / "openvino_model.bin").read_bytes() == (directory / "openvino_model.bin").read_bytes()


def test_the_users_text_calibrates(tmp_path, capfd):
    text = Path(__file__)
    model = resolve("demo", tmp_path / "cache", Silent())
    with pytest.raises(UsageError, match="no calibration text"):
        run_build(KIND.build, model, chosen("int8_sq"), tmp_path, Silent(), tmp_path / "missing.txt")
    record = run_build(KIND.build, model, chosen("int8_sq"), tmp_path, Silent(), text)
    assert record["calibration"]["source"] == str(text)
    assert capfd.readouterr() == ("", "")


def test_an_unknown_precision_is_refused_with_the_known_ones(tmp_path):
    model = resolve("demo", tmp_path / "cache", Silent())
    with pytest.raises(UnsupportedModelError, match="int3") as caught:
        run_build(KIND.build, model, chosen("int3"), tmp_path, Silent())
    assert "int4_awq" in caught.value.remedy
