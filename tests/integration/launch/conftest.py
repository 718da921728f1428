from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from stoker.launch.python_engine import PythonEngine
from stoker.launch.settings import EngineSettings
from stoker.launch.supervisor import Patience, Supervisor

pytest.importorskip("openvino_genai")
HERE = Path(__file__).parent


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"launch_tests_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def harness() -> ModuleType:
    return _load("harness")


@pytest.fixture(scope="session")
def tiny_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _load("tiny_graph").build_tiny_graph(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def dense_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _load("tiny_graph").build_tiny_graph(tmp_path_factory.mktemp("dense"), dense=True)


@pytest.fixture(scope="session")
def settings_of():
    def make(engine: Path, **changes) -> EngineSettings:
        values = {
            "engine_directory": str(engine),
            "max_batch_size": 16,
            "max_num_tokens": 64,
            "max_seq_len": 256,
            "kv_blocks": 128,
            "threads": 1,
            "kv_precision": "f32",
            "activation_precision": "f32",
        }
        return EngineSettings(**{**values, **changes})

    return make


@pytest.fixture(scope="module")
def loop(harness) -> Iterator[SimpleNamespace]:
    thread = harness.LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="module")
def supervisor(loop, settings_of, tiny_engine) -> Iterator[Supervisor]:
    """One served tiny engine for a module's tests; it makes no tokens of its own accord."""
    supervisor = Supervisor(PythonEngine(settings_of(tiny_engine)), Patience(heartbeat=3600, fresh=3600, wedged=7200))
    try:
        loop.run(supervisor.start())
        yield supervisor
    finally:
        loop.run(supervisor.stop())
