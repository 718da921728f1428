"""Adapters as operators load them: what is wrong with one is told with its name, whatever the engine, and costs the
others nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.life.adapting import (
    INPUTS,
    MOST,
    OUTPUTS,
    Engine,
    Q,
    Work,
    pair,
    plan_by,
    settings_in,
    with_loader,
    write,
)

from stoker.errors import DamagedModelError, StokerError
from stoker.life.adapters import AdapterLoader
from stoker.plan.types import Plan
from stoker.progress import Silent
from stoker.serve.operate.adapters import AdapterError
from stoker.serve.operate.service import Service
from stoker.settings.layers import Settings, load_settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_in(tmp_path_factory.mktemp("life"))


@pytest.fixture(scope="module")
def plan(settings: Settings) -> Plan:
    return plan_by(settings)


@pytest.fixture
def source(settings: Settings) -> Path:
    """Empty, as each test finds it."""
    source = Path(settings["lora-source"].value)
    shutil.rmtree(source)
    source.mkdir()
    return source


During = Callable[..., Any]


@pytest.fixture
def during(settings: Settings, plan: Plan, source: Path) -> During:
    """Runs the work with a loader that has begun; `right` is an adapter that fits, which came to the source since."""

    def run(work: Work, **right: Any) -> Any:
        async def with_right(loader: AdapterLoader, service: Service, engine: Engine) -> Any:
            write(source / "right", **right)
            return await work(loader, service, engine)

        return with_loader(settings, plan, with_right)

    return run


def tokenizer(directory: Path, **document: Any) -> Path:
    (directory / "tokenizer.json").write_text(json.dumps(document))
    return directory


def pickled(directory: Path) -> Path:
    write(directory)
    (directory / "adapter_model.safetensors").rename(directory / "adapter_model.bin")
    return directory


def file_of(directory: Path) -> Path:
    directory.write_text("x")
    return directory


def unreadable(directory: Path) -> Path:
    write(directory)
    (directory / "adapter_config.json").write_text("{")
    return directory


def extra(suffix: str, shape: tuple[int, ...], module: str = Q) -> dict[str, Any]:
    return {**pair(), f"base_model.model.{module}.{suffix}": np.ones(shape, np.float32)}


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a base of another width": (lambda path: write(path, pair(inputs=INPUTS + 8)), "does not fit demo"),
    "a base of another family": (
        lambda path: write(path, pair("transformer.h.0.attn.c_attn"), base_model_name_or_path="gpt2"),
        "demo has no module transformer.h.0.attn.c_attn; it was made for gpt2",
    ),
    "a base of more layers": (lambda path: write(path, pair(Q.replace("0", "99"))), "has no module model.layers.99"),
    "an unknown target module": (lambda path: write(path, pair(Q.replace("q_proj", "r_proj"))), "r_proj"),
    "a rank above the limit": (lambda path: write(path, pair(rank=16), r=16), "start with --max-lora-rank 16"),
    "a rank of nothing": (lambda path: write(path, r=0), "r is 0"),
    "a rank that is a text": (lambda path: write(path, r="8"), "r is '8'"),
    "retrained modules": (lambda path: write(path, modules_to_save=["lm_head"]), "retrained copies of whole modules"),
    "a retrained output matrix": (
        lambda path: write(path, {**pair(), "base_model.model.lm_head.weight": np.ones((8, 4), np.float32)}),
        "embeddings retrained",
    ),
    "DoRA": (lambda path: write(path, use_dora=True), "DoRA"),
    "DoRA's magnitudes": (lambda path: write(path, extra("lora_magnitude_vector", (OUTPUTS,))), "no part of a LoRA"),
    "retrained biases": (lambda path: write(path, bias="lora_only"), "retrained biases"),
    "biases in the adapter": (lambda path: write(path, lora_bias=True), "biases in the adapter"),
    "a bias": (lambda path: write(path, extra("lora_B.bias", (OUTPUTS,))), "lora_B.bias"),
    "embeddings": (
        lambda path: write(path, extra("lora_embedding_A", (4, 16), "model.embed_tokens")),
        "lora_embedding_A",
    ),
    "another method": (lambda path: write(path, peft_type="IA3"), "is not a LoRA adapter"),
    "numbers that are none": (
        lambda path: write(path, {name: np.full_like(each, np.nan) for name, each in pair().items()}),
        "infinite or not a number",
    ),
    "tokens of its own": (
        lambda path: tokenizer(write(path), model={}, added_tokens=[{"id": 9999, "content": "<|new|>"}]),
        "adds '<|new|>'",
    ),
    "a tokenizer that makes no sense": (
        lambda path: tokenizer(write(path), model={}, added_tokens=[{"content": "<|new|>"}]),
        "added_tokens[0] is ('<|new|>', None)",
    ),
    "a pickle": (pickled, "is a pickle"),
    "a config that is not JSON": (unreadable, "is not JSON"),
    "an empty directory": (lambda path: path.mkdir(), "has no adapter_config.json"),
    "a file": (file_of, "is not a directory"),
    "nothing": (lambda path: None, "is not a directory"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_an_adapter_is_told_with_where_it_lies(case: str, during: During, source: Path) -> None:
    prepare, why = WRONG[case]

    async def work(loader: AdapterLoader, service: Service, engine: Engine) -> None:
        prepare(source / "wrong")
        with pytest.raises(StokerError) as raised:
            await loader.load("name", "wrong", replace=False)
        assert why in str(raised.value)
        assert str(source / "wrong") in str(raised.value)
        assert not list(service.adapters)
        assert not engine.asked
        await loader.load("name", "right", replace=False)
        assert [each.name for each in service.adapters] == ["name"]

    during(work)


@pytest.mark.parametrize("config", [{"use_rslora": True}, {"target_modules": "all-linear"}, {"use_dora": False}])
def test_what_is_a_lora_is_loaded(config: dict[str, Any], during: During) -> None:
    async def work(loader: AdapterLoader, service: Service, engine: Engine) -> None:
        served = await loader.load("name", "right", replace=False)
        assert engine.asked[0].adapter == served.adapter

    during(work, **config)


NOT_NAMES = ("", " ", " a", "a ", "a b", "a,b", "x=1,b", "a\nb", "../a", "-a", "ä", "名", "a\0b", "a" * 128)


@pytest.mark.parametrize("name", NOT_NAMES)
def test_what_is_no_name_is_refused_by_name(name: str, during: During) -> None:
    async def work(loader: AdapterLoader, service: Service, _: Engine) -> None:
        with pytest.raises(AdapterError, match="is not a valid name for an adapter") as raised:
            await loader.load(name, "right", replace=False)
        assert repr(name) in str(raised.value)
        assert not list(service.adapters)

    during(work)


@pytest.mark.parametrize("name", ["a", "org/name", "a:b", "A-1_2.3"])
def test_names_may_have_what_those_of_the_hub_have(name: str, during: During) -> None:
    async def work(loader: AdapterLoader, service: Service, _: Engine) -> None:
        await loader.load(name, "right", replace=False)
        assert name in service.adapters
        assert loader.unload(name).name == name

    during(work)


@pytest.mark.parametrize("names", [{}, {"served-model-name": "one,two"}])
def test_the_model_s_own_names_are_taken_from_the_start(names: dict[str, str], settings: Settings, plan: Plan) -> None:
    async def begin(name: str) -> None:
        given = {"model": "demo", "max-loras": "2", "lora": f"{name}=./nothing", **names}
        own = load_settings({**given, "cache": str(settings.cache)}, {})
        loader = AdapterLoader(own, Service(), Silent())
        with pytest.raises(AdapterError, match=f"{name} is the model's own name"):
            loader.check(plan, own)
        with pytest.raises(AdapterError, match=f"{name} is the model's own name"):
            await loader.begin(Engine(), plan, own)  # type: ignore[arg-type]

    for name in names.get("served-model-name", "demo").split(","):
        asyncio.run(begin(name))


def test_what_the_settings_name_is_checked_before_an_engine_is_built(
    settings: Settings, plan: Plan, tmp_path: Path
) -> None:
    """And one that is damaged since is not taken for a damaged engine, which would be built anew."""

    async def begin(path: Path) -> None:
        own = load_settings({"model": "demo", "cache": str(settings.cache), "lora": f"name={path}"}, {})
        loader = AdapterLoader(own, Service(), Silent())
        write(path)
        loader.check(plan, own)
        (path / "adapter_model.safetensors").write_bytes(b"x")
        with pytest.raises(DamagedModelError, match="adapter"):
            loader.check(plan, own)
        with pytest.raises(AdapterError, match="an adapter is not served"):
            await loader.begin(Engine(), plan, own)  # type: ignore[arg-type]

    asyncio.run(begin(tmp_path / "adapter"))


def test_twice_too_many_and_at_once(during: During) -> None:
    async def work(loader: AdapterLoader, service: Service, engine: Engine) -> None:
        await loader.load("one", "right", replace=False)
        with pytest.raises(AdapterError, match="one is loaded already"):
            await loader.load("one", "right", replace=False)
        engine.gate.clear()
        coming = asyncio.create_task(loader.load("two", "right", replace=False))
        while len(engine.asked) < MOST:
            await asyncio.sleep(0)
        with pytest.raises(AdapterError, match="two is being loaded"):
            await loader.load("two", "right", replace=False)
        with pytest.raises(AdapterError, match="start with a larger --max-loras"):
            await loader.load("three", "right", replace=False)
        engine.gate.set()
        await coming
        with pytest.raises(AdapterError, match="start with a larger --max-loras"):
            await loader.load("three", "right", replace=False)
        before = service.adapters.get("one")
        after = await loader.load("one", "right", replace=True)
        assert before is not None
        assert after.adapter.number != before.adapter.number
        loader.unload("two")
        await loader.load("three", "right", replace=False)
        with pytest.raises(AdapterError, match=r"there is no adapter 'two'.*loaded: one, three"):
            loader.unload("two")

    during(work)


def test_what_the_engine_refuses_is_not_served(during: During) -> None:
    async def work(loader: AdapterLoader, service: Service, engine: Engine) -> None:
        engine.refuses = True
        with pytest.raises(StokerError, match="the engine does not take the adapter name.*no place for layers"):
            await loader.load("name", "right", replace=False)
        assert not list(service.adapters)
        engine.refuses = False
        await loader.load("name", "right", replace=False)

    during(work)


def test_another_base_of_the_same_shapes_is_served_with_a_warning(
    during: During, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(loader: AdapterLoader, service: Service, _: Engine) -> None:
        with caplog.at_level(logging.WARNING, "stoker"):
            await loader.load("name", "right", replace=False)

    during(work, base_model_name_or_path="org/sibling")
    assert "the adapter name names org/sibling as its base model; it is served with demo" in caplog.text


def test_a_directory_that_vanishes_leaves_what_is_loaded_of_it(during: During, source: Path) -> None:
    """What engines read is a copy in the cache."""

    async def work(loader: AdapterLoader, service: Service, engine: Engine) -> None:
        served = await loader.load("name", "right", replace=False)
        shutil.rmtree(source / "right")
        assert (Path(served.adapter.directory) / "adapter_model.safetensors").is_file()
        with pytest.raises(StokerError, match="there is no adapter"):
            await loader.load("other", "right", replace=False)
        assert [each.name for each in service.adapters] == ["name"]

    during(work)
