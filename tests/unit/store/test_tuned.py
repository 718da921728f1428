"""Where `stoker tune` keeps what it found."""

from dataclasses import replace
from pathlib import Path

import pytest

from stoker.errors import CacheError
from stoker.plan.tuning import Tuned
from stoker.probe.machine import Cpu, Machine
from stoker.resolve.model import Model
from stoker.store.tuned import TunedStore, tuning_key

TUNED = Tuned("openvino", "int8", "latency", {"activation_precision": "f32"}, 1, 30.0, 20.0, "2026-11-29")


@pytest.fixture
def here() -> Machine:
    return Machine("here", Cpu("x86_64", "A CPU", 2, None, 1, 1, 1, ("avx2",)))


@pytest.fixture
def model(request) -> Model:
    from tests.unit.plan.conftest import build_model

    return build_model("qwen2.5-0.5b")


def test_it_is_kept_read_and_forgotten(tmp_path: Path):
    store = TunedStore(tmp_path)
    assert store.read("key") is None
    store.write("key", TUNED)
    assert store.read("key") == TUNED
    assert store.forget("key")
    assert not store.forget("key")
    assert store.read("key") is None


def test_what_cannot_be_read_was_not_measured(tmp_path: Path):
    store = TunedStore(tmp_path)
    for text in ("{", "[]", '{"engine": "openvino"}'):
        store.write("key", TUNED).write_text(text)
        assert store.read("key") is None


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path):
    (tmp_path / "tuned").write_text("a file in the way")
    with pytest.raises(CacheError, match="cannot be kept"):
        TunedStore(tmp_path).write("key", TUNED)


def test_another_machine_model_or_goal_has_another_key(here: Machine, model: Model):
    key = tuning_key(here, model, "throughput")
    more_memory = replace(here, cpu=replace(here.cpu, memory_available=2))
    assert tuning_key(more_memory, model, "throughput") == key
    assert tuning_key(replace(here, cpu=replace(here.cpu, cores=4)), model, "throughput") != key
    assert tuning_key(replace(here, cpu=replace(here.cpu, isa=("avx512",))), model, "throughput") != key
    assert tuning_key(here, replace(model, revision="another"), "throughput") == key
    wider = replace(model.architecture, intermediate_size=4096)
    assert tuning_key(here, replace(model, architecture=wider), "throughput") != key
    assert tuning_key(here, model, "latency") != key
