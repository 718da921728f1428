"""A real server that faults are done to: processes are killed and stopped, clients leave."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.loading import load as load_module
from tests.serving import Server

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def load() -> ModuleType:
    return load_module("faults_load", HERE / "load.py")


@pytest.fixture(scope="session")
def growth() -> ModuleType:
    return load_module("faults_growth", HERE / "growth.py")


@pytest.fixture(scope="session")
def hub_server() -> ModuleType:
    return load_module("faults_hub_server", HERE.parents[1] / "hub_server.py")


@pytest.fixture(scope="session")
def rounds() -> Callable[[int, int], int]:
    """How often a test repeats: `make soak` sets SOAK."""
    return lambda quick, full: full if os.environ.get("SOAK") else quick


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def start(tmp_path: Path, cache: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers and sees to it that none is left."""
    servers: list[Server] = []

    def begin(*arguments: str, cache: Path = cache, port: int | None = None, **environment: str) -> Server:
        log = tmp_path / f"server-{len(servers)}.log"
        servers.append(Server(log, [*arguments, "--cache", str(cache)], environment, port))
        return servers[-1]

    yield begin
    for server in servers:
        with contextlib.suppress(ProcessLookupError):
            server.process.kill()
        server.process.wait()
