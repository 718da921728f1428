"""A step that raises breaks the engine for everybody: all in flight are told, and it is rebuilt where it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stoker.kinds.openvino.runtime.engine import python_engine
from stoker.launch.generation import EngineDiedError, Generation
from stoker.launch.supervisor import Patience, Supervisor

WAITING, POISON = 250, 251


@pytest.fixture
def faulty(loop, settings_of, tiny_engine, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    settings = settings_of(tiny_engine, runtime="faulty_runtime:FaultyRuntime", max_batch_size=4)
    supervisor = Supervisor(python_engine(settings), Patience(heartbeat=3600))
    try:
        loop.run(supervisor.start())
        yield supervisor
    finally:
        loop.run(supervisor.stop())


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
