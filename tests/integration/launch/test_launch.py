"""The whole step on the demo model, and what is left when the process that launched it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.leftovers import left_by

from stoker.kinds.openvino import KIND
from stoker.kinds.openvino.runtime.engine import GENERATOR
from stoker.kinds.openvino.runtime.paged import PagedRuntime
from stoker.launch import shared_memory
from stoker.launch.generation import Generation
from stoker.launch.run_directory import remove_stale_run_directories
from stoker.launch.settings import STUB_PID_FILE, settings_for
from stoker.launch.shared_memory import owner_prefix
from stoker.launch.supervisor import Supervisor
from stoker.plan.types import Chosen, KvPool
from stoker.processes import process_lives
from stoker.progress import Silent
from stoker.store.engine import SCHEMA, Engine, Manifest

CHOSEN = Chosen(
    profile="cpu-int8",
    engine="openvino",
    purpose="text",
    precision="int8",
    kv_precision="u8",
    activation_precision="f32",
    tensor_parallel=1,
    pipeline_parallel=1,
    devices=(),
    max_batch_size=4,
    max_num_tokens=128,
    max_seq_len=512,
    threads=1,
)

POOL = KvPool(64, 32, 1)


class Recorder(Silent):
    def __init__(self) -> None:
        self.phases: list[str] = []
        self.advances: list[tuple[int, int]] = []

    def phase(self, name: str, detail: str = "") -> None:
        self.phases.append(name)

    def advance(self, done: int, total: int, unit: str = "bytes") -> None:
        self.advances.append((done, total))


@pytest.fixture(scope="module")
def demo_engine(tmp_path_factory) -> Engine:
    import stoker.resolve
    from stoker.build.companions import copy_companions
    from stoker.kinds.openvino.build.builder import build_graph
    from stoker.kinds.openvino.build.checkpoint import open_checkpoint
    from stoker.kinds.openvino.build.int8 import Int8
    from stoker.kinds.openvino.build.save import save_graph

    demo = Path(stoker.resolve.__file__).parent / "demo"
    directory = tmp_path_factory.mktemp("demo-int8")
    save_graph(build_graph(json.loads((demo / "config.json").read_text()), open_checkpoint(demo), Int8(1)), directory)
    copy_companions(demo, directory)
    return Engine(directory, Manifest(SCHEMA, "key", "openvino", "demo", "", {}, {}, {}))


def test_launching_the_demo_serves_its_own_tokens(loop, harness, demo_engine):
    generation = Generation("demo", (1, 500, 600, 700), max_tokens=24, log_probs=True)
    progress = Recorder()
    states: list[str] = []

    async def serve():
        servable = KIND.launch.open(demo_engine, CHOSEN, POOL)
        supervisor = Supervisor(servable, on_state=states.append)
        await supervisor.start(progress)
        try:
            assert supervisor.ready
            return await harness.tokens(supervisor.client, generation)
        finally:
            await supervisor.stop()

    served = loop.run(serve())
    assert progress.phases == ["loading", "warming"]
    assert progress.advances[-1][0] == progress.advances[-1][1]
    assert states == ["loading", "warming", "ready", "stopped"]
    runtime = PagedRuntime(settings_for(GENERATOR, demo_engine, CHOSEN, POOL))
    sequence = runtime.add(generation)
    own: list[int] = []
    while len(own) < 24:
        runtime.step()
        own += sequence.read().ids
    runtime.close()
    assert served == own


CHILD = """
import asyncio, sys
from stoker.kinds.openvino.runtime.engine import GENERATOR, python_engine
from stoker.launch.settings import EngineSettings
from stoker.launch.supervisor import Supervisor
from stoker.plan.types import Chosen, KvPool

async def main():
    chosen = Chosen("p", "openvino", "text", "f32", "f32", "f32", 1, 1, (), 2, 64, 256, 1)
    supervisor = Supervisor(python_engine(EngineSettings(GENERATOR, sys.argv[1], chosen, KvPool(16, 32, 1))))
    await supervisor.start()
    print(supervisor.server_pid, supervisor.stub_pid, supervisor.run_directory, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


def test_a_killed_parent_takes_its_server_along_and_the_next_start_clears_up(tiny_engine):
    command = [sys.executable, "-c", CHILD, str(tiny_engine)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        server, first_stub, run = parent.stdout.readline().split()
        assert any(path.startswith("/dev/shm") for path in left_by(parent.pid))
        assert Path(run).exists()
        parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not process_lives(int(server)))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as successor:
        assert successor.stdout
        server, stub, _ = successor.stdout.readline().split()
        successor.send_signal(signal.SIGKILL)
    assert not Path(run).exists()
    wait_for(lambda: not process_lives(int(first_stub)))
    assert not any(f"-{parent.pid}-" in path.name for path in shared_memory.SHARED_MEMORY.iterdir())
    wait_for(lambda: not process_lives(int(server)))
    shared_memory.remove_stale_regions()
    remove_stale_run_directories()
    wait_for(lambda: not process_lives(int(stub)))


def test_a_stub_that_outlived_its_server_is_ended_by_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    gone = subprocess.Popen(["true"])
    gone.wait()
    run = tmp_path / f"{owner_prefix().replace(f'-{os.getpid()}-', f'-{gone.pid}-')}x"
    run.mkdir()
    sleeper = "import time; print('runs', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", sleeper], cwd=run, stdout=subprocess.PIPE) as stuck:
        assert stuck.stdout
        stuck.stdout.readline()  # Popen returns before the kernel shows the new command line in /proc
        (run / STUB_PID_FILE).write_text(str(stuck.pid))
        remove_stale_run_directories()
        assert stuck.wait(30) == -signal.SIGKILL
    assert not run.exists()


def wait_for(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
