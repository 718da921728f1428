"""Real servers: one that a session shares, and ones that a test starts for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.serving import Server


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the session: the demo engine is built once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def start(tmp_path: Path, cache: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers and sees to it that none is left."""
    servers: list[Server] = []

    def begin(*arguments: str, environment: dict[str, str] | None = None, cache: Path = cache) -> Server:
        log = tmp_path / f"server-{len(servers)}.log"
        servers.append(Server(log, [*arguments, "--cache", str(cache)], environment or {}))
        return servers[-1]

    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    """The demo model, ready; for tests that leave it as they found it."""
    log = tmp_path_factory.mktemp("demo") / "server.log"
    server = Server(log, ["demo", "--cache", str(cache)], {})
    server.wait_ready()
    yield server
    if server.process.poll() is None:
        server.stop()
