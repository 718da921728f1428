"""The disk is looked at before a build begins."""

from __future__ import annotations

import shutil

import pytest

from stoker.build.kind import BuildPart
from stoker.build.space import check_space
from stoker.chain import make_plan_for, obtain_engine
from stoker.errors import StorageError
from stoker.kinds import kind_named
from stoker.probe.description import load_description
from stoker.progress import Silent
from stoker.settings.layers import load_settings


@pytest.fixture
def plan(tmp_path):
    def planned(profile: str):
        overrides = load_settings({"model": "demo", "profile": profile, "cache": str(tmp_path)}, {})
        return make_plan_for(overrides, Silent(), machine=load_description("2xH100,cpu:8c-16g"), buildable=False)

    return planned


def disk_bytes(found, workspace) -> int:
    return kind_named(found.chosen.engine).build.disk_bytes(found, workspace)


@pytest.mark.parametrize(
    ("profile", "times"),
    [
        ("tensorrt_llm-bf16-throughput", 2.0),  # its checkpoint and its engine
        ("tensorrt_llm-fp8-throughput", 2.0),
    ],
)
def test_a_compiled_engine_takes_multiples_of_the_16_bit_weights(plan, tmp_path, profile, times):
    found = plan(profile)
    assert disk_bytes(found, tmp_path) == int(times * 2 * found.model.weights.parameters)


def test_links_take_nothing_and_a_quantised_copy_does(plan, tmp_path):
    kept, made = plan("tensorrt_llm_pytorch-bf16-throughput"), plan("tensorrt_llm_pytorch-fp8-throughput")
    beside = kept.model.directory
    assert disk_bytes(kept, beside) == 0
    assert disk_bytes(made, beside) == made.memory.weights > 0


def test_a_full_disk_is_told_before_the_build(plan, tmp_path, monkeypatch):
    found = plan("tensorrt_llm-bf16-throughput")
    monkeypatch.setattr(BuildPart, "disk_bytes", lambda part, plan, workspace: 1 << 60)
    with pytest.raises(StorageError, match="not enough disk space to build demo"):
        obtain_engine(found, tmp_path, Silent())
    assert not list((tmp_path / "engines").iterdir())


def test_enough_disk_is_no_error(plan, tmp_path):
    assert shutil.disk_usage(tmp_path).free > 1 << 30
    found = plan("tensorrt_llm-bf16-throughput")
    check_space(kind_named(found.chosen.engine).build, found, tmp_path)
