"""The CPU image, run for real. Without an engine or the image nothing here can run: `make image-test` builds it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from tests.containers.engine import ENGINE, IMAGE, Container, call, complete, run


def pytest_sessionstart() -> None:
    if not ENGINE:
        pytest.exit("neither Docker nor Podman answers here", returncode=1)
    if call(ENGINE, "image", "inspect", IMAGE).returncode != 0:
        pytest.exit(f"there is no image {IMAGE}: run `make image`", returncode=1)


@pytest.fixture
def start() -> Iterator[Callable[..., Container]]:
    """Starts containers, and removes them after the test."""
    started: list[Container] = []

    def begin(*arguments: str, flags: tuple[str, ...] = (), network: str = "host") -> Container:
        started.append(Container(flags, arguments, network))
        return started[-1].start()

    yield begin
    for container in started:
        container.remove()


def _volume() -> Iterator[str]:
    name = f"stoker-test-{uuid.uuid4().hex[:12]}"
    yield name
    call(ENGINE, "volume", "rm", "--force", name)


@pytest.fixture
def volume() -> Iterator[str]:
    """The name of a volume that does not exist yet."""
    yield from _volume()


@pytest.fixture(scope="session")
def filled() -> Iterator[str]:
    """A volume that holds the demo's engine."""
    for name in _volume():
        answer = run("build", "demo", flags=(f"--volume={name}:/cache",))
        assert answer.returncode == 0, answer.stderr
        yield name


@pytest.fixture(scope="session")
def demo(filled: str) -> Iterator[Container]:
    """The demo, ready; for tests that leave it as they found it."""
    container = Container((f"--volume={filled}:/cache",), ("demo",)).start().wait_ready()
    assert complete(container.url)
    yield container
    container.remove()
