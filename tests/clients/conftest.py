"""Real clients against one running server: `make test-clients`, which sets up an environment of theirs.

The server runs in Stoker's own environment, .venv, on the demo model with room for an agent's prompt.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.loading import load
from tests.served import Served

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "entrypoint" / "stoker" / "resolve" / "demo"
CONTEXT = 32768
Recorder = load("clients_recorder", Path(__file__).with_name("recorder.py")).Recorder
NODE = Path(os.environ.get("STOKER_CLIENTS_NODE", ROOT / ".venv-clients" / "node"))


def pytest_configure(config: pytest.Config) -> None:
    """What clients warn of is theirs."""
    config.addinivalue_line("filterwarnings", "default")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    model = shutil.copytree(DEMO, folder / "demo")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": CONTEXT}))
    command = [str(ROOT / ".venv" / "bin" / "python"), "-m", "stoker"]
    overrides = ["--served-model-name", "demo", "--max-seq-len", str(CONTEXT)]
    with Served(command, str(model), overrides, folder, {"PYTHONPATH": str(ROOT / "entrypoint")}).running() as one:
        yield one


@pytest.fixture(scope="module")
def recorder(server: Served, request: pytest.FixtureRequest) -> Iterator[Recorder]:
    """What this module's client asks, on its way to the server. None of it may be refused."""
    at = urlsplit(server.url)
    with Recorder(at.hostname, at.port) as one:
        yield one
    assert [(each.path, each.status) for each in one.refused] == []
    if os.environ.get("STOKER_RECORD"):
        one.write(Path(str(request.path)).stem.removeprefix("test_"))


@pytest.fixture(scope="module")
def url(recorder: Recorder) -> str:
    return str(recorder.url)


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., str]:
    """Runs a program of the clients' environment, in a home of its own; what it printed."""

    def run(*arguments: str, **environment: str) -> str:
        home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", **environment}
        done = subprocess.run(
            arguments, cwd=tmp_path, env=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    return run


@pytest.fixture
def node(request: pytest.FixtureRequest) -> Callable[[str], str]:
    def program(name: str) -> str:
        path = NODE / "node_modules" / ".bin" / name
        if not path.exists():
            pytest.skip(f"{name} is not installed: install node and npm, and run `make test-clients` again")
        return str(path)

    return program
