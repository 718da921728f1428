"""Whatever is killed, nothing is left behind, and the supervisor brings the engine back."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.vllm.conftest import descendants, direct_settings, vllm_processes

from stoker import processes
from stoker.direct.process import EngineProcess
from stoker.launch.generation import EngineDiedError, Generation
from stoker.launch.kind import Child
from stoker.launch.supervisor import Supervisor

ENGINE_CORE, WORKER, HOST, GUARD, STUB = (
    "VLLM::EngineCore",
    "VLLM::Worker",
    "runtime.host",
    "runtime.guard",
    "triton_python_backend_stub",
)
GONE_WITHIN = 10.0


VICTIMS = [ENGINE_CORE, WORKER, HOST, GUARD, STUB] if os.environ.get("SOAK") else [ENGINE_CORE, WORKER, HOST, STUB]
NOTICED = {ENGINE_CORE: "EngineCore.* ended", WORKER: f"{WORKER}.* ended"}
"""What the error says where the host lives on. Of a rank vLLM itself says, much later, that the EngineCore is dead."""


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_process_takes_the_others_along(loop: Any, served: Supervisor, harness: Any, victim: str) -> None:
    """The new engine's shared memory is in the place of the old one's: see the fixture, which looks at the end."""
    supervisor, before = served, served.restarts
    family = vllm_processes()
    (target,) = [pid for pid, args in descendants(os.getpid()).items() if victim in args]

    async def killed() -> None:
        stream = supervisor.client.generate(Generation("running", (5, 300), 500))
        await anext(stream)
        os.kill(target, signal.SIGKILL)
        with pytest.raises(EngineDiedError, match=NOTICED.get(victim)):
            async for _ in stream:
                pass

    loop.run(killed())
    deadline = time.monotonic() + GONE_WITHIN
    while left := [pid for pid in family if Path(f"/proc/{pid}/exe").exists()]:
        assert time.monotonic() < deadline, {pid: family[pid] for pid in left}
        time.sleep(0.05)
    work = harness.restarted(supervisor, before)
    asyncio.run_coroutine_threadsafe(work, loop.loop).result()
    assert len(loop.run(harness.tokens(supervisor.client, Generation("again", (5, 300), 4)))) == 4


def test_an_engine_without_triton_has_ended_when_it_is_closed(eager: Path, tmp_path: Path) -> None:
    """`stoker tune` starts the next one in its place, and looks for a free GPU."""
    process = EngineProcess(Child(direct_settings(eager, tmp_path)))
    below = processes.descendants(process.pid)
    assert len(below) > 2
    process.close()
    assert not any(processes.process_lives(pid) for pid, _ in below)
