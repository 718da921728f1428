"""The disk is looked at before a build begins."""

from __future__ import annotations

import shutil

import pytest

from stoker import chain
from stoker.build.kind import BuildPart
from stoker.chain import make_plan_for, obtain_engine
from stoker.errors import BuildError, StokerError, StorageError
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


def test_a_compiled_engine_takes_its_checkpoint_and_itself_in_16_bit(plan, tmp_path):
    """Whatever the precision: the tools write both in the model's own size."""
    for profile in ("tensorrt_llm-bf16-throughput", "tensorrt_llm-fp8-throughput"):
        found = plan(profile)
        assert disk_bytes(found, tmp_path) == 2 * 2 * found.model.weights.parameters


def test_links_take_nothing_and_a_quantised_copy_does(plan, tmp_path):
    kept, made = plan("tensorrt_llm_pytorch-bf16-throughput"), plan("tensorrt_llm_pytorch-fp8-throughput")
    beside = kept.model.directory
    assert disk_bytes(kept, beside) == 0
    assert disk_bytes(made, beside) == made.memory.weights > 0


@pytest.mark.parametrize("profile", ["vllm-bf16-throughput", "torch-bf16-throughput"])
def test_kinds_that_link_need_no_second_room_for_the_weights(plan, tmp_path, profile):
    assert disk_bytes(plan(profile), tmp_path) <= 1 << 30


def test_a_full_disk_is_reported_before_the_build(plan, tmp_path, monkeypatch):
    found = plan("tensorrt_llm-bf16-throughput")
    monkeypatch.setattr(BuildPart, "disk_bytes", lambda part, plan, workspace: 1 << 60)
    with pytest.raises(StorageError, match="the engine does not fit on the disk"):
        obtain_engine(found, tmp_path, Silent())
    assert not list((tmp_path / "engines").iterdir())


@pytest.mark.parametrize(("missing", "outcome"), [(0, BuildError), (1, StorageError)])
@pytest.mark.parametrize("profile", ["tensorrt_llm-bf16-throughput", "vllm-bf16-throughput"])
def test_the_last_byte_decides(plan, tmp_path, monkeypatch, profile, missing, outcome: type[StokerError]):
    found = plan(profile)
    free = disk_bytes(found, tmp_path) + chain._COMPANION_BYTES - missing
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(free, 0, free))
    monkeypatch.setattr(chain, "run_build", begun)
    with pytest.raises(outcome):
        obtain_engine(found, tmp_path, Silent())


def begun(*_: object) -> None:
    raise BuildError("the build has begun")
