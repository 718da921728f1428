"""What clients see when the engine dies, and that it comes back and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import stat
from pathlib import Path

import pytest

from stoker.errors import EngineError, UnstableEngineError
from stoker.kinds.openvino.runtime.engine import python_engine
from stoker.launch.client import TritonClient
from stoker.launch.generation import EngineDiedError, Generation
from stoker.launch.run_directory import make_run_directory
from stoker.launch.server import start_server
from stoker.launch.supervisor import Patience, Supervisor
from stoker.processes import process_lives

LONG = Generation("long", (1, 2, 3), max_tokens=230)


def leftovers(supervisor: Supervisor) -> list[str]:
    """Shared memory and run directories of this process's servers."""
    mine = f"-{os.getpid()}-"
    regions = [path.name for path in Path("/dev/shm").glob("stoker-*") if mine in path.name]
    return regions + ([str(supervisor.run_directory)] if supervisor.run_directory else [])


def signal_stub(supervisor: Supervisor, number: signal.Signals) -> None:
    assert supervisor.stub_pid is not None
    os.kill(supervisor.stub_pid, number)


async def kill_under_load(harness, supervisor: Supervisor, pid: int) -> list[object]:
    """What eight requests in flight got when the process was killed after their first tokens."""
    started = [asyncio.Event() for _ in range(8)]

    async def watch(event: asyncio.Event) -> int:
        count = 0
        while True:  # again and again, so that work is in flight whenever the kill comes
            async for _ in supervisor.client.generate(LONG):
                count += 1
                event.set()

    tasks = [asyncio.create_task(watch(event)) for event in started]
    await asyncio.gather(*(event.wait() for event in started))
    os.kill(pid, signal.SIGKILL)
    return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("victim", ["stub_pid", "server_pid"])
def test_a_killed_process_ends_requests_cleanly_and_comes_back(loop, supervisor, harness, victim):
    before = loop.run(harness.tokens(supervisor.client, LONG))
    restarts = supervisor.restarts
    stub, server = supervisor.stub_pid, supervisor.server_pid
    results = loop.run(kill_under_load(harness, supervisor, getattr(supervisor, victim)))
    assert [type(result) for result in results] == [EngineDiedError] * 8
    loop.run(harness.restarted(supervisor, restarts))
    assert loop.run(harness.tokens(supervisor.client, LONG)) == before
    assert not process_lives(stub)
    assert not process_lives(server)


def test_while_it_is_down_it_is_not_ready_and_new_requests_fail_at_once(loop, supervisor, harness):
    restarts = supervisor.restarts

    async def ask_while_down():
        signal_stub(supervisor, signal.SIGKILL)
        await harness.until(lambda: not supervisor.ready)
        with pytest.raises(EngineDiedError):
            await harness.tokens(supervisor.client, LONG)

    loop.run(ask_while_down())
    loop.run(harness.restarted(supervisor, restarts))


def test_a_stuck_engine_is_restarted(loop, settings_of, tiny_engine, harness):
    states: list[str] = []
    reasons: list[str] = []  # which those learn who ask as soon as they hear of it

    def hear(state: str) -> None:
        states.append(state)
        reasons.append(supervisor.client.reason)

    patience = Patience(heartbeat=0.2, fresh=1.0, wedged=2.0)
    supervisor = Supervisor(python_engine(settings_of(tiny_engine, max_batch_size=2)), patience, on_state=hear)

    async def freeze():
        await supervisor.start()
        signal_stub(supervisor, signal.SIGSTOP)
        await harness.restarted(supervisor, 0)
        return await harness.tokens(supervisor.client, Generation("again", (1,), 2))

    try:
        assert len(loop.run(freeze())) == 2
        assert states == ["loading", "warming", "ready", "stalled", "restarting", "loading", "warming", "ready"]
        assert reasons[states.index("restarting")] == "the engine is stuck"
    finally:
        loop.run(supervisor.stop())


def test_stopping_leaves_no_process_no_shared_memory_and_no_directory(loop, settings_of, tiny_engine):
    supervisor = Supervisor(python_engine(settings_of(tiny_engine, max_batch_size=2)))
    loop.run(supervisor.start())
    run, stub, server = supervisor.run_directory, supervisor.stub_pid, supervisor.server_pid
    assert run is not None
    assert stub is not None
    assert server is not None
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    assert leftovers(supervisor) != []
    loop.run(supervisor.stop())
    assert not run.exists()
    assert not any(process_lives(pid) for pid in (stub, server))
    assert not any(Path(f"/proc/{pid}").exists() for pid in (stub, server))


def test_a_start_that_is_cancelled_leaves_nothing(loop, settings_of, tiny_engine, harness):
    supervisor = Supervisor(python_engine(settings_of(tiny_engine)))

    async def interrupt():
        task = asyncio.create_task(supervisor.start())
        await harness.until(lambda: supervisor.server_pid is not None)
        pid, run = supervisor.server_pid, supervisor.run_directory
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return pid, run

    pid, run = loop.run(interrupt())
    assert not process_lives(pid)
    assert not run.exists()


def test_an_engine_that_cannot_load_says_why_and_leaves_nothing(loop, settings_of, tmp_path):
    supervisor = Supervisor(python_engine(settings_of(tmp_path)))
    with pytest.raises(EngineError, match="openvino_model.xml"):
        loop.run(supervisor.start())
    assert supervisor.run_directory is None
    assert supervisor.server_pid is None


def test_it_gives_up_when_it_does_not_come_back(loop, settings_of, tiny_engine, tmp_path):
    engine = Path(shutil.copytree(tiny_engine, tmp_path / "engine"))
    supervisor = Supervisor(python_engine(settings_of(engine)), Patience(backoff=0.01, attempts=2))

    async def break_it():
        await supervisor.start()
        (engine / "openvino_model.xml").unlink()
        signal_stub(supervisor, signal.SIGKILL)
        return await supervisor.wait_failed()

    try:
        failure = loop.run(break_it())
        assert isinstance(failure, EngineError)
        assert supervisor.state == "failed"
        assert not supervisor.ready
    finally:
        loop.run(supervisor.stop())


def test_an_engine_that_dies_again_and_again_is_given_up_with_its_last_cause(loop, settings_of, tiny_engine, harness):
    patience = Patience(backoff=0.01, deaths=3)
    supervisor = Supervisor(python_engine(settings_of(tiny_engine, max_batch_size=2)), patience)

    async def kill_it_each_time():
        await supervisor.start()
        for restarts in (0, 1):
            signal_stub(supervisor, signal.SIGKILL)
            await harness.restarted(supervisor, restarts)
        signal_stub(supervisor, signal.SIGKILL)
        return await supervisor.wait_failed()

    try:
        failure = loop.run(kill_it_each_time())
        assert isinstance(failure, UnstableEngineError)
        assert "died 3 times" in failure.what
        assert supervisor.state == "failed"
        assert supervisor.stub_pid is None
    finally:
        loop.run(supervisor.stop())


def test_a_stub_that_keeps_the_interpreters_lock_ends_with_its_server(
    loop, settings_of, tiny_engine, harness, monkeypatch
):
    """Nobody else ends it here, as where the supervisor was killed first."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    engine = python_engine(settings_of(tiny_engine, runtime="locked_runtime:LockedRuntime"))
    run, client = make_run_directory(), TritonClient()

    async def killed():
        server = await start_server(engine.command(run))
        try:
            client.attach(server.address, server.metrics_socket)
            await harness.until(client.model_ready)
            asking = asyncio.create_task(harness.tokens(client, Generation("last", (5, 9), 4)))
            await harness.until(lambda: (run.path / "locked").exists())
            stub = server.stub_pid()
            assert stub is not None
            server.process.kill()
            await harness.until(lambda: not process_lives(stub))
            await client.detach("it was killed")
            await asyncio.gather(asking, return_exceptions=True)
        finally:
            await server.kill()
            run.remove()

    loop.run(killed())


def test_an_engine_is_watched_on_after_a_time_without_file_descriptors(loop, settings_of, tiny_engine, harness):
    """As many as the limit allows are open for a while, and none is left for a look at the engine."""
    supervisor = Supervisor(python_engine(settings_of(tiny_engine, max_batch_size=2)), Patience(backoff=0.01))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def run_short():
        await supervisor.start()
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                Path("/proc/self/stat").read_text()
            await asyncio.sleep(2)  # in which it looks some twenty times
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert supervisor.state == "ready"
        assert supervisor.restarts == 0
        signal_stub(supervisor, signal.SIGKILL)
        await harness.restarted(supervisor, 0)

    try:
        loop.run(run_short())
    finally:
        loop.run(supervisor.stop())


def test_a_supervisor_that_fails_itself_gives_its_engine_up(loop, settings_of, tiny_engine, monkeypatch):
    """Nobody would start it again: whoever waits for its end hears of it."""
    supervisor = Supervisor(python_engine(settings_of(tiny_engine, max_batch_size=2)), Patience(backoff=0.01))

    async def fail():
        raise RuntimeError("nobody foresaw this")

    async def kill_it():
        await supervisor.start()
        monkeypatch.setattr(supervisor, "_bring_back", fail)
        signal_stub(supervisor, signal.SIGKILL)
        return await supervisor.wait_failed()

    try:
        failure = loop.run(kill_it())
        assert isinstance(failure, EngineError)
        assert "nobody foresaw this" in str(failure)
        assert supervisor.state == "failed"
    finally:
        loop.run(supervisor.stop())
