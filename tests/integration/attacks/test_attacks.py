"""A server under attack refuses what it must, and goes on answering others; `tests/performance/attacks.py` measures."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.attacks import ATTACKS, CHAT, Target
from tests.served import Served

pytestmark = pytest.mark.slow
KEYS = ("attacker", "other")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "keys").write_text("".join(f"{name} {name}\n" for name in KEYS))
    flags = ["--api-key-file", str(folder / "keys")]
    with Served([sys.executable, "-m", "stoker"], "demo", flags, folder).running() as running:
        yield running


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_and_others_are_served(server: Served, name: str) -> None:
    """No fault of the server's, no engine that dies, and the next request of another client succeeds."""
    statuses = ATTACKS[name](Target(server.url, KEYS[0]))
    assert not any(status >= 500 and status != 503 for status in statuses), statuses
    server.wait_until(lambda: server.status("/v1/health/ready") == 200)  # how soon: tests/performance/attacks.py
    assert Target(server.url, KEYS[1]).post("/v1/chat/completions", CHAT) == 200
    assert "restarting it" not in server.output
    assert "Traceback" not in server.output


def test_nothing_but_refusals_was_logged(server: Served) -> None:
    """And those not once for each: an attack must not fill the disk with its traces."""
    assert len([line for line in server.output.splitlines() if "refused: " in line]) < 200


def test_a_few_descriptors_are_enough_to_say_so(tmp_path: Path) -> None:
    limited = ["sh", "-c", 'ulimit -n 128; exec "$@"', "sh", sys.executable, "-m", "stoker"]
    flags = ["--management-port", "0"]
    with Served(limited, "demo", flags, tmp_path).running() as running:
        target = Target(running.url, "")
        with contextlib.ExitStack() as connections:

            def refused_at_last() -> bool:
                """One that says nothing yet would only make room for the next."""
                for _ in range(10):
                    connection = connections.enter_context(target.connect())
                    with contextlib.suppress(OSError):
                        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
                return "refused: connections" in running.output

            running.wait_until(refused_at_last)
        running.wait_until(lambda: running.status("/v1/health/live") == 200)
        assert "the limit of open files is 128" in running.output
