"""Tests of the vllm kind with a real vLLM on the CPU: `make test-vllm`. STOKER_VLLM_PYTHON names its environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.loading import load

from stoker.kinds.vllm.runtime.process import CHECKPOINT, PYTHON, SETTINGS, Launch
from stoker.launch import contract
from stoker.launch.python_engine import PythonEngine
from stoker.launch.settings import EngineSettings
from stoker.launch.supervisor import Patience, Supervisor
from stoker.resolve.local import DEMO_DIRECTORY

INTEGRATION = Path(__file__).parents[1] / "integration"
sys.path += [str(Path(__file__).parent), str(INTEGRATION / "goldens")]
RUNTIME = "stoker.kinds.vllm.runtime.relay:Relay"
PATIENCE = Patience(heartbeat=3600)
# One core for the engine: the others are for Triton and the tests.
ENVIRONMENT = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
EAGER = {"enforce_eager": True, "dtype": "float32", "max_model_len": 512, "kv_cache_memory_bytes": 1 << 26}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    python = os.environ.get(PYTHON)
    if python is None or shutil.which(python) is None:
        raise pytest.UsageError(f"{PYTHON} does not name a Python with vllm: use `make test-vllm`")


@pytest.fixture(scope="session")
def harness() -> ModuleType:
    return load("launch_tests_harness", INTEGRATION / "launch" / "harness.py")


@pytest.fixture(scope="session")
def loop(harness) -> Iterator:
    thread = harness.LoopThread()
    thread.run_long = lambda work: __import__("asyncio").run_coroutine_threadsafe(work, thread.loop).result()
    yield thread
    thread.close()


def engine_directory(path: Path, checkpoint: Path, **arguments) -> Path:
    """As the builder leaves one."""
    path.mkdir()
    (path / CHECKPOINT).symlink_to(checkpoint)
    Launch({**EAGER, **arguments}, ENVIRONMENT).write(path / SETTINGS)
    return path


def supervisor_of(directory: Path, **changes) -> Supervisor:
    values = {"max_batch_size": 16, "max_num_tokens": 2048, "max_seq_len": 512, "kv_blocks": 256, "threads": 1}
    settings = EngineSettings(
        str(directory), **{**values, **changes}, kv_precision="f32", activation_precision="f32", runtime=RUNTIME
    )
    return Supervisor(PythonEngine(settings, inputs=contract.PYTORCH_INPUTS), PATIENCE)


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Path:
    return engine_directory(tmp_path_factory.mktemp("engines") / "demo", DEMO_DIRECTORY)


@pytest.fixture(scope="session")
def served(loop, demo) -> Iterator[Supervisor]:
    """The demo model behind Triton, for all tests that leave it alive."""
    supervisor = supervisor_of(demo)
    loop.run_long(supervisor.start())
    try:
        yield supervisor
    finally:
        loop.run_long(supervisor.stop())


def descendants(root: int) -> dict[int, str]:
    """Command lines by process id."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    found, queue = {}, [root]
    while queue:
        parent = queue.pop()
        for pid, above, command in rows:
            if int(above) == parent:
                found[int(pid)] = command
                queue.append(int(pid))
    return found
