from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from tests.engine_settings import engine_settings
from tests.loading import load

from stoker.kinds.openvino.runtime.engine import GENERATOR, python_engine
from stoker.launch.settings import EngineSettings
from stoker.launch.supervisor import Patience, Supervisor

pytest.importorskip("openvino_genai")
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def harness() -> ModuleType:
    return load("launch_tests_harness", HERE / "harness.py")


@pytest.fixture(scope="session")
def tiny_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return load("launch_tests_tiny_graph", HERE / "tiny_graph.py").build_tiny_graph(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def dense_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return load("launch_tests_tiny_graph", HERE / "tiny_graph.py").build_tiny_graph(
        tmp_path_factory.mktemp("dense"), dense=True
    )


@pytest.fixture(scope="session")
def settings_of():
    def make(engine: Path, runtime: str = GENERATOR, **changes) -> EngineSettings:
        limits = {"max_batch_size": 16, "max_seq_len": 256, "kv_blocks": 128}
        return engine_settings(runtime, engine, **{**limits, **changes})

    return make


@pytest.fixture(scope="module")
def loop(harness) -> Iterator[SimpleNamespace]:
    thread = harness.LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="module")
def supervisor(loop, settings_of, tiny_engine) -> Iterator[Supervisor]:
    """One served tiny engine for a module's tests; it makes no tokens of its own accord."""
    supervisor = Supervisor(python_engine(settings_of(tiny_engine)), Patience(heartbeat=3600, fresh=3600, wedged=7200))
    try:
        loop.run(supervisor.start())
        yield supervisor
    finally:
        loop.run(supervisor.stop())
