"""An engine that does nothing while it is to come up: its processes are there, and nobody waits for a token yet."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from stoker.direct.process import EngineProcess
from stoker.errors import StuckEngineError
from stoker.kinds.openvino.runtime.engine import python_engine
from stoker.launch.generation import Generation
from stoker.launch.kind import Child
from stoker.launch.settings import EngineSettings
from stoker.launch.supervisor import Patience, Supervisor

FILE, OPENING, STEP = "stuck", "opening", "step"
PATIENCE = Patience(heartbeat=3600, idle=3.0, backoff=0.01)
Settings = Callable[[Sequence[str]], EngineSettings]
Make = Callable[[Sequence[str]], Supervisor]


@pytest.fixture
def stuck_at(settings_of, tiny_engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    engine = shutil.copytree(tiny_engine, tmp_path / "engine")

    def settings(places: Sequence[str]) -> EngineSettings:
        (engine / FILE).write_text("\n".join(places))
        made: EngineSettings = settings_of(engine, runtime="stuck_runtime:StuckRuntime")
        return made

    return settings


@pytest.fixture
def make(stuck_at: Settings) -> Make:
    return lambda places: Supervisor(python_engine(stuck_at(places)), PATIENCE)


@pytest.mark.parametrize(("place", "state"), [(OPENING, "loading"), (STEP, "warming")])
def test_it_is_started_again(loop, make: Make, harness, caplog: pytest.LogCaptureFixture, place: str, state: str):
    supervisor = make([place])
    try:
        loop.run(supervisor.start())
        assert len(loop.run(harness.tokens(supervisor.client, Generation("a", (1, 2), max_tokens=5)))) == 5
    finally:
        loop.run(supervisor.stop())
    assert f"the engine is stuck: {state}, it has done nothing for" in caplog.text


def test_one_that_never_comes_up_is_given_up(loop, make: Make):
    supervisor = make([OPENING] * PATIENCE.starts)
    with pytest.raises(StuckEngineError, match="it has done nothing"):
        loop.run(supervisor.start())
    assert supervisor.server_pid is None
    assert supervisor.run_directory is None


def test_one_without_triton_ends_in_an_error(stuck_at: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stoker.direct.process._IDLE_SECONDS", PATIENCE.idle)
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with pytest.raises(StuckEngineError, match="while it loaded, it did nothing"):
        EngineProcess(Child(stuck_at([OPENING]), environment=environment))
    EngineProcess(Child(stuck_at([]), environment=environment)).close()
