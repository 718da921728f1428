"""A step that raises breaks the engine for everybody: all in flight are told, and it is rebuilt where it is. What a
step says breaks nothing, and neither does a regular end."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from stoker.kinds.openvino.runtime.engine import python_engine
from stoker.launch.generation import EngineDiedError, Generation
from stoker.launch.supervisor import Patience, Supervisor

WAITING, POISON = 250, 251


@pytest.fixture
def supervised(loop, settings_of, tiny_engine, monkeypatch):
    """By the name of a runtime of this folder, its supervisor, which has been started."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    started: list[Supervisor] = []

    def start(runtime: str, engine: Path = tiny_engine) -> Supervisor:
        settings = settings_of(engine, runtime=runtime, max_batch_size=4)
        started.append(Supervisor(python_engine(settings), Patience(heartbeat=3600)))
        loop.run(started[-1].start())
        return started[-1]

    yield start
    for supervisor in started:
        loop.run(supervisor.stop())


@pytest.fixture
def faulty(supervised):
    return supervised("faulty_runtime:FaultyRuntime")


def test_a_step_that_raises_ends_all_in_flight_and_the_next_is_served(loop, faulty, harness):
    good = Generation("good", (1, 2), max_tokens=20)
    before, stub = loop.run(harness.tokens(faulty.client, good)), faulty.stub_pid

    async def poison_in_company():
        company = asyncio.create_task(harness.tokens(faulty.client, Generation("waiting", (WAITING,), max_tokens=9)))
        await harness.until(lambda: faulty.client.in_flight == 1)
        poison = harness.tokens(faulty.client, Generation("bad", (POISON,), max_tokens=9))
        return await asyncio.gather(company, poison, return_exceptions=True)

    results = loop.run(poison_in_company())
    assert [type(result) for result in results] == [EngineDiedError] * 2
    assert all("pipeline is broken" in str(result) for result in results)
    assert loop.run(harness.tokens(faulty.client, good)) == before
    assert faulty.stub_pid == stub
    assert faulty.restarts == 0


def test_an_engine_that_writes_very_long_lines_is_served_and_stopped_like_another(loop, supervised, harness):
    loud = supervised("loud_runtime:LoudRuntime")
    assert len(loop.run(harness.tokens(loud.client, Generation("loud", (1, 2), max_tokens=20)))) == 20
    assert loud.state == "ready"
    loop.run(loud.stop())
    assert loud.stub_pid is None


def test_a_regular_end_is_no_crash(loop, supervised, harness, tiny_engine, tmp_path):
    """It would leave a core dump, as large as the engine's memory, where those are kept."""
    engine = Path(shutil.copytree(tiny_engine, tmp_path / "engine"))
    telling = supervised("crash_telling_runtime:CrashTellingRuntime", engine)
    assert len(loop.run(harness.tokens(telling.client, Generation("one", (1, 2), max_tokens=3)))) == 3
    loop.run(telling.stop())
    assert (engine / "crash.txt").read_text() == ""
