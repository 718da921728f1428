"""Whatever is killed, nothing is left behind, and the supervisor brings the engine back."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.vllm.conftest import Running, descendants, supervised

from stoker.launch.generation import EngineDiedError, Generation

ENGINE_CORE, WORKER, HOST, GUARD, STUB = (
    "VLLM::EngineCore",
    "VLLM::Worker",
    "runtime.host",
    "runtime.guard",
    "triton_python_backend_stub",
)
GONE_WITHIN = 10.0


def shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir()}


@pytest.fixture(scope="module")
def running(loop: Any, eager: Path) -> Any:
    found = supervised(loop, eager)
    found.start()
    yield found
    found.stop()


@pytest.mark.parametrize("victim", [ENGINE_CORE, WORKER, HOST, GUARD, STUB])
def test_a_killed_process_takes_the_others_along(loop: Any, running: Running, harness: Any, victim: str) -> None:
    supervisor, shared = running.supervisor, shared_memory()
    before = supervisor.restarts
    family = {pid: args for pid, args in descendants(os.getpid()).items() if "VLLM" in args or "kinds.vllm" in args}
    (target,) = [pid for pid, args in descendants(os.getpid()).items() if victim in args]

    async def killed() -> None:
        stream = supervisor.client.generate(Generation("running", (5, 300), 500))
        await anext(stream)
        os.kill(target, signal.SIGKILL)
        with pytest.raises(EngineDiedError):
            async for _ in stream:
                pass

    loop.run(killed())
    deadline = time.monotonic() + GONE_WITHIN
    while left := [pid for pid in family if Path(f"/proc/{pid}/exe").exists()]:
        assert time.monotonic() < deadline, {pid: family[pid] for pid in left}
        time.sleep(0.05)
    running.wait(harness.restarted(supervisor, before))
    assert len(loop.run(harness.tokens(supervisor.client, Generation("again", (5, 300), 4)))) == 4
    assert len(shared_memory()) <= len(shared)  # the new engine's in the place of the old one's


def test_a_server_that_is_stopped_leaves_nothing(loop: Any, eager: Path) -> None:
    running = supervised(loop, eager)
    shared = shared_memory()
    running.start()
    family = descendants(os.getpid())
    ours = [pid for pid, args in family.items() if "VLLM" in args or "kinds.vllm" in args]
    running.stop()
    assert not [pid for pid in ours if Path(f"/proc/{pid}/exe").exists() and pid not in descendants(1)]
    assert shared_memory() <= shared
