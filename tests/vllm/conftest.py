"""Tests of the vllm kind with a real vLLM on the CPU: `make test-vllm`. STOKER_VLLM_PYTHON names its environment."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.engine_settings import CHOSEN
from tests.loading import load

from stoker.build.child import Lines
from stoker.build.jobs import Job
from stoker.kinds.vllm.build.worker import build_job
from stoker.kinds.vllm.kind import TENSORS
from stoker.kinds.vllm.runtime.engine import RELAY, RUNTIME
from stoker.kinds.vllm.runtime.process import CHECKPOINT, PYTHON, SETTINGS, Launch
from stoker.launch.generation import Generation
from stoker.launch.python_engine import PythonEngine
from stoker.launch.settings import EngineSettings
from stoker.launch.supervisor import Patience, Supervisor
from stoker.plan.types import Chosen, KvPool
from stoker.processes import family
from stoker.progress import Silent
from stoker.resolve.local import DEMO_DIRECTORY, resolve_directory

INTEGRATION = Path(__file__).parents[1] / "integration"
sys.path += [str(INTEGRATION / "goldens")]
POOL = KvPool(512, 16, 8192)  # 64 MiB


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    python = os.environ.get(PYTHON)
    if python is None or shutil.which(python) is None:
        raise pytest.UsageError(f"{PYTHON} does not name a Python with vllm: use `make test-vllm`")


def chosen(**changes: Any) -> Chosen:
    return Chosen(**{**CHOSEN, "engine": "vllm", "max_batch_size": 16, "max_num_tokens": 2048, **changes})


def eager_engine(path: Path, checkpoint: Path, **arguments: Any) -> Path:
    """An engine's directory in which nothing was compiled, nor will be."""
    path.mkdir()
    (path / CHECKPOINT).symlink_to(checkpoint)
    Launch({"enforce_eager": True, **arguments}).write(path / SETTINGS)
    return path


def settings(directory: Path, runtime: str = RELAY, **changes: Any) -> EngineSettings:
    return EngineSettings(runtime, str(directory), chosen(**changes), POOL, vocabulary_size=2048)


def direct_settings(directory: Path, run: Path, **changes: Any) -> EngineSettings:
    """For a runtime in the test's own process."""
    return EngineSettings(RUNTIME, str(directory), chosen(**changes), POOL, run_directory=str(run))


@dataclass(frozen=True)
class Running:
    """A supervisor and the loop that it belongs to."""

    loop: Any
    supervisor: Supervisor

    def start(self) -> None:
        self.wait(self.supervisor.start())

    def stop(self) -> None:
        self.wait(self.supervisor.stop())

    def wait(self, work: Any) -> Any:
        """However long it takes: vLLM's imports alone take seconds."""
        return asyncio.run_coroutine_threadsafe(work, self.loop.loop).result()


def supervised(loop: Any, directory: Path, **changes: Any) -> Running:
    """No heartbeat, which would make requests of its own. Tests kill it more often than it may die."""
    own = settings(directory, **changes)
    servable = PythonEngine(own, "*.safetensors", TENSORS[own.chosen.purpose])
    return Running(loop, Supervisor(servable, Patience(heartbeat=3600, wedged=3600, backoff=0.1, deaths=100)))


@pytest.fixture(scope="session")
def harness() -> ModuleType:
    return load("launch_tests_harness", INTEGRATION / "launch" / "harness.py")


@pytest.fixture(scope="session")
def loop(harness: ModuleType) -> Iterator[Any]:
    thread = harness.LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model's engine, compiled."""
    folder = tmp_path_factory.mktemp("built")
    model = resolve_directory(
        DEMO_DIRECTORY, "demo", "demo", folder / "models", Silent(), weights=True, check=lambda _: None
    )
    directory = folder / "engine"
    directory.mkdir()
    build_job(Job(model, chosen(), str(directory)), Lines(io.StringIO()))
    return directory


@pytest.fixture(scope="session")
def eager(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return eager_engine(tmp_path_factory.mktemp("engines") / "demo", DEMO_DIRECTORY)


@pytest.fixture(scope="session")
def served(loop: Any, eager: Path, harness: ModuleType) -> Iterator[Supervisor]:
    """The demo model behind Triton, for all tests that leave it ready. Stopped, it leaves nothing.

    What vLLM compiles for the first log probability takes longer on a busy machine than a test may."""
    running, before = supervised(loop, eager), shared_memory()
    running.start()
    try:
        running.wait(harness.collect(running.supervisor.client, Generation("first", (5, 300), 1, log_probs=True)))
        yield running.supervisor
    finally:
        family = vllm_processes()
        running.stop()
        assert not [pid for pid in family if Path(f"/proc/{pid}/exe").exists()]
        assert shared_memory() <= before


def shared_memory() -> set[str]:
    """Regions of Python's own; Triton's have another name."""
    return {path.name for path in Path("/dev/shm").glob("psm_*")}


def vllm_processes() -> dict[int, str]:
    """Of all servers that this process has started: command lines by process id."""
    return {pid: args for pid, args in descendants(os.getpid()).items() if "VLLM::" in args or "kinds.vllm" in args}


def descendants(root: int) -> dict[int, str]:
    """Command lines by process id. ps would cut them to COLUMNS where that is set."""
    found: dict[int, str] = {}
    for pid in family(root)[1:]:
        with contextlib.suppress(OSError):
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found
