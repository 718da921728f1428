"""The files that say what NVIDIA's kinds can do: complete, consistent, and read strictly."""

import pytest

from stoker.errors import UsageError
from stoker.kinds.tensorrt_llm.plan.catalogue import Support, load_nvidia
from stoker.kinds.tensorrt_llm.plan.rules import WEIGHTS
from stoker.plan.catalogue import catalogue_directory

NVIDIA = load_nvidia()


def test_the_catalogue_says_something_of_every_precision_for_every_capability():
    for verdicts in NVIDIA.capabilities.values():
        for kind, verdict in verdicts.items():
            if isinstance(verdict, str):
                continue
            own = {one.precision for one in NVIDIA.profiles if one.kind.name == kind}
            assert own <= verdict.listed | verdict.unproven | set(verdict.refused)
            assert not verdict.listed & set(verdict.refused)
    kinds = {one.precision for one in NVIDIA.profiles}
    assert kinds == set(WEIGHTS)


def test_families_name_only_precisions_that_their_kind_has():
    for verdicts in NVIDIA.models.values():
        for kind, verdict in verdicts.items():
            own = {one.precision for one in NVIDIA.profiles if one.kind.name == kind}
            assert not isinstance(verdict, Support) or verdict.listed | verdict.unproven <= own


@pytest.mark.parametrize(
    ("file", "old", "new", "field"),
    [
        ("tensorrt_llm.yaml", "kv_fraction: 0.9", "kv_fraction: many", "memory.kv_fraction"),
        ("tensorrt_llm.yaml", "  fp8: {order", "  fp9: {order", "precisions"),
        ("tensorrt_llm.yaml", "bits: 8", "bits: 7", "precisions"),
        ("tensorrt_llm.yaml", "    min_seq_len: 1024", "    min_seqlen: 1024", "goals.throughput.min_seqlen"),
        ("capabilities.yaml", '"8.6": *ampere', '"8,6": *ampere', "capabilities"),
        ("capabilities.yaml", "unproven: []", "unproven: [fp9]", "capabilities"),
        ("models.yaml", "listed: [f16, bf16, fp8,", "listd: [f16, bf16, fp8,", "families"),
    ],
)
def test_a_bad_file_is_named_with_its_line_and_field(tmp_path, file, old, new, field):
    (tmp_path / "nvidia").mkdir()
    for source in (catalogue_directory() / "nvidia").glob("*.yaml"):
        (tmp_path / "nvidia" / source.name).write_text(source.read_text())
    text = (tmp_path / "nvidia" / file).read_text()
    assert old in text
    (tmp_path / "nvidia" / file).write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError, match=rf"{file}, line \d+, field {field}"):
        load_nvidia(tmp_path)
