"""An engine that does nothing while it is to come up: its processes are there, and nobody waits for a token yet."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from stoker.errors import StuckEngineError
from stoker.kinds.openvino.runtime.engine import python_engine
from stoker.launch.generation import Generation
from stoker.launch.supervisor import Patience, Supervisor

FILE, OPENING, STEP = "stuck", "opening", "step"
PATIENCE = Patience(heartbeat=3600, idle=3.0, backoff=0.01)
Make = Callable[[Sequence[str]], Supervisor]


@pytest.fixture
def make(settings_of, tiny_engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    engine = shutil.copytree(tiny_engine, tmp_path / "engine")

    def supervisor(places: Sequence[str]) -> Supervisor:
        (engine / FILE).write_text("\n".join(places))
        return Supervisor(python_engine(settings_of(engine, runtime="stuck_runtime:StuckRuntime")), PATIENCE)

    return supervisor


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
