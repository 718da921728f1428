import re
from pathlib import Path

import pytest

from stoker.errors import UsageError
from stoker.kinds.openvino.plan.catalogue import load_catalogue, read_profiles
from stoker.kinds.openvino.plan.profile import Steps
from stoker.plan.catalogue import catalogue_directory

SHIPPED = (catalogue_directory() / "openvino-cpu.yaml").read_text()


def line_of(text: str, needle: str) -> int:
    return text[: text.index(needle)].count("\n") + 1


def test_the_catalogue_has_every_cpu_precision_for_throughput():
    precisions = {profile.precision for profile in load_catalogue() if profile.goal == "throughput"}
    assert precisions == {"int8", "int4", "int4_full", "bf16", "f16", "f32", "int4_awq", "int4_gptq", "int8_sq"}


def test_int8_comes_first_for_both_goals():
    first = {profile.goal: profile.precision for profile in reversed(load_catalogue())}
    assert first == {"throughput": "int8", "latency": "int8"}


def test_names_say_what_the_profiles_are():
    for profile in load_catalogue():
        engine = profile.engine if "text" in profile.purposes else f"{profile.engine}-embedding"
        assert profile.name == f"{engine}-{profile.precision}-{profile.goal}"


def test_a_profile_overrides_what_its_file_shares():
    found = {profile.name: profile for profile in load_catalogue()}
    latency, throughput = found["openvino-int8-latency"], found["openvino-int8-throughput"]
    assert latency.limits.max_batch_size.at(2) == 4
    assert throughput.limits.max_batch_size.at(2) == 32
    assert latency.limits.max_seq_len == throughput.limits.max_seq_len


@pytest.mark.parametrize(("cores", "value"), [(1, 128), (4, 128), (5, 256), (500, 256)])
def test_steps_go_by_cores(cores, value):
    assert Steps(((4, 128),), 256).at(cores) == value


@pytest.mark.parametrize(
    ("old", "new", "field", "reason"),
    [
        ("engine: openvino", "engine: openvinoo", "engine", "did you mean openvino?"),
        ("precision: int8_sq", "precision: int8_sqq", "precision", "did you mean int8_sq?"),
        ("kv_precision: u8", "kv_precision: u9", "kv_precision", "choose from bf16"),
        ("kv_precision: u8", "kv_precison: u8", "kv_precison", "did you mean kv_precision"),
        ("    max_seq_len: 8192", "    max_seq_len: many", "limits.max_seq_len", "'many' is not a whole number"),
        ("    max_seq_len: 8192", "    max_seqlen: 8192", "limits.max_seqlen", "did you mean max_seq_len?"),
        ("    max_num_tokens: [{cores: 4, value: 128}, {value: 256}]", "    max_num_tokens: [{value: 1}, {value: 2}]",
         "limits.max_num_tokens", "rising order"),
        ("available_fraction: 0.9", "available_fraction: 1.9", "memory.available_fraction", "up to 1"),
        ("{plain: automatic}", "{plain: automatically}", "checkpoints", "did you mean automatic?"),
        ("    - {precision: f32}\n", "    - {precision: f32, isa_any: [avx2]}\n", "activation", "no isa_any"),
        ("    precision: int4\n", "    precision: int8\n", "group_size", "does not go with"),
        ("kv_precisions: [u8, bf16", "kv_precisions: [bf16", "kv_precision", "not among kv_precisions"),
        ("    order: 20\n", "    order: 10\n", "order", "is that of openvino-int8-throughput too"),
        ("name: openvino-int4-throughput", "name: openvino-int8-throughput", "name", "stands in"),
        ("name: openvino-int4-throughput", "name: Int4 fast", "name", "lower-case"),
        ("schema: 1", "schema: 2", "schema", "is not 1"),
        ("min_seq_len: 512", "min_seq_len: 9999", "limits", "above comfortable_seq_len"),
    ],
)  # fmt: skip
def test_a_bad_profile_names_file_line_and_field(tmp_path: Path, old, new, field, reason):
    text = SHIPPED.replace(old, new, 1)
    assert text != SHIPPED
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UsageError, match=re.escape(reason)) as caught:
        load_catalogue(tmp_path)
    found = re.match(r"mine\.yaml, line (\d+), field ([\w.]+): ", str(caught.value))
    assert found is not None
    assert found[2] == field
    assert int(found[1]) <= text.count("\n")


def test_the_line_is_that_of_the_wrong_value(tmp_path: Path):
    text = SHIPPED.replace("precision: bf16\n    goal: latency", "precision: bf17\n    goal: latency")
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UsageError, match=f"line {line_of(text, 'precision: bf17')}, field precision"):
        load_catalogue(tmp_path)


def test_a_missing_field_is_named_with_the_profile_s_line():
    text = SHIPPED.replace("    order: 30\n", "", 1)
    with pytest.raises(UsageError, match=f"line {line_of(text, '- name: openvino-int4_awq')}, field order: is missing"):
        read_profiles(text, "mine.yaml")


@pytest.mark.parametrize("text", ["a: [", "schema: 1\nschema: 1\nprofiles: []", "- 1", "", "schema: 1\nprofiles: [3]"])
def test_what_is_no_profile_file_is_refused_by_name(text):
    with pytest.raises(UsageError, match=r"mine\.yaml, line \d"):
        read_profiles(text, "mine.yaml")


def test_names_are_unique_over_files(tmp_path: Path):
    (tmp_path / "a.yaml").write_text(SHIPPED)
    (tmp_path / "b.yaml").write_text(SHIPPED)
    with pytest.raises(UsageError, match="stands in a.yaml already"):
        load_catalogue(tmp_path)
