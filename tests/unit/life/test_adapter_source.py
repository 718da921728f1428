"""The watched directory of adapters: what comes and goes there is followed, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.life.adapting import INPUTS, MOST, Engine, Work, pair, plan_by, settings_in, with_loader, write
from tests.waiting import until

from stoker.life.adapters import AdapterLoader
from stoker.plan.types import Plan
from stoker.resolve.adapter import resolve_adapter
from stoker.serve.operate.service import Service
from stoker.settings.layers import Settings

Watching = Callable[[Work], Any]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path).but("lora-refresh", 0.001, "the test")


@pytest.fixture
def plan(settings: Settings) -> Plan:
    return plan_by(settings)


@pytest.fixture
def source(settings: Settings) -> Path:
    return Path(settings["lora-source"].value)


@pytest.fixture
def watching(settings: Settings, plan: Plan) -> Watching:
    """Runs the work with a loader that looks at the source all the time."""

    return lambda work: with_loader(settings, plan, work)


def test_a_source_that_is_gone_for_a_while_is_watched_on(
    watching: Watching, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(loader: AdapterLoader, service: Service, engine: Engine) -> None:
        source.rename(source.parent / "away")
        await until(lambda: "there is no directory" in caplog.text, "told")
        await asyncio.sleep(0.05)
        (source.parent / "away").rename(source)
        write(source / "later")
        await until(lambda: "later" in service.adapters, "served")

    with caplog.at_level(logging.ERROR, "stoker"):
        watching(work)
    assert caplog.text.count("there is no directory") == 1


def test_a_look_that_fails_in_a_way_that_was_not_foreseen_is_followed_by_others(
    watching: Watching, source: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(loader: AdapterLoader, service: Service, engine: Engine) -> None:
        with monkeypatch.context() as patched:
            patched.setattr("stoker.life.adapters._stamps", lambda source: 1 / 0)
            await until(lambda: "ZeroDivisionError" in caplog.text, "told")
        write(source / "later")
        await until(lambda: "later" in service.adapters, "served")

    with caplog.at_level(logging.ERROR, "stoker"):
        watching(work)


def test_an_adapter_that_came_while_the_engine_was_away_is_served_once_it_is_back(
    watching: Watching, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(loader: AdapterLoader, service: Service, engine: Engine) -> None:
        engine.deaths = 3
        write(source / "later")
        await until(lambda: "later" in service.adapters, "served")
        assert not engine.deaths

    with caplog.at_level(logging.ERROR, "stoker"):
        watching(work)
    assert caplog.text.count("the adapter later is not served: the engine died") == 1


def test_an_adapter_without_a_place_gets_one_when_another_leaves(watching: Watching, source: Path) -> None:
    async def work(loader: AdapterLoader, service: Service, engine: Engine) -> None:
        for index in range(MOST):
            write(source / f"first{index}")
        await until(lambda: len(service.adapters) == MOST, "full")
        write(source / "later")
        await asyncio.sleep(0.05)
        assert "later" not in service.adapters
        shutil.rmtree(source / "first0")
        await until(lambda: "later" in service.adapters, "served")

    watching(work)


def test_an_adapter_that_does_not_fit_is_read_once(
    watching: Watching, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(reference: str, *rest: Any, **more: Any) -> Any:
        read.append(reference)
        return resolve_adapter(reference, *rest, **more)

    async def work(loader: AdapterLoader, service: Service, engine: Engine) -> None:
        write(source / "wrong", pair(inputs=INPUTS + 8))
        await until(lambda: read, "read")
        write(source / "right")
        await until(lambda: "right" in service.adapters, "served")
        await asyncio.sleep(0.05)
        assert len(read) == 2

    monkeypatch.setattr("stoker.life.adapters.resolve_adapter", counted)
    watching(work)


def test_what_cannot_be_looked_at_for_a_while_stays_served(
    watching: Watching, source: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(path: Path) -> bool:
        raise OSError(116, "Stale file handle")

    async def work(loader: AdapterLoader, service: Service, engine: Engine) -> None:
        write(source / "one")
        await until(lambda: "one" in service.adapters, "served")
        with monkeypatch.context() as patched:
            patched.setattr(Path, "is_file", stale)
            await until(lambda: "Stale file handle" in caplog.text, "told")
            assert "one" in service.adapters
        (source / "one" / "adapter_config.json").unlink()
        await until(lambda: "one" not in service.adapters, "unloaded")

    with caplog.at_level(logging.ERROR, "stoker"):
        watching(work)


def test_an_adapter_that_leaves_while_its_change_cannot_be_served_is_unloaded(
    watching: Watching, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(loader: AdapterLoader, service: Service, engine: Engine) -> None:
        write(source / "one")
        await until(lambda: "one" in service.adapters, "served")
        engine.deaths = 1 << 30
        write(source / "one", lora_alpha=16)
        await until(lambda: "one is not served" in caplog.text, "told")
        assert "one" in service.adapters
        shutil.rmtree(source / "one")
        await until(lambda: "one" not in service.adapters, "unloaded")

    with caplog.at_level(logging.ERROR, "stoker"):
        watching(work)
