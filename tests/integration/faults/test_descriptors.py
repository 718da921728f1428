"""A time in which every process of the server has no file descriptor left: it costs that time, and nothing after it."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

TOKENS = 8
LIMIT = resource.RLIMIT_NOFILE


@contextmanager
def none_left(pids: list[int]) -> Iterator[None]:
    """What they have open stays open."""
    limits = {pid: resource.prlimit(pid, LIMIT) for pid in pids}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, LIMIT, (0, hard))
    try:
        yield
    finally:
        for pid, before in limits.items():
            resource.prlimit(pid, LIMIT, before)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_without_descriptors_serves_on_and_is_watched_on_afterwards(start, load, workers: int) -> None:
    server = start("demo", "--api-workers", str(workers))
    server.wait_ready()
    before = load.right_answers(server.port, TOKENS)
    ours = [pid for pid, name in server.children().items() if name.startswith("python")]
    with none_left([server.process.pid, *ours]), socket.create_connection(("127.0.0.1", server.port)):
        server.wait_until(lambda: "no file descriptor is left" in server.output, "short of them")
        time.sleep(2)  # in which it looks at its engine some twenty times
    server.wait_ready()
    assert load.right_answers(server.port, TOKENS) == before
    assert "restarting" not in server.output
    os.kill(server.stub(), signal.SIGKILL)
    server.wait_until(lambda: "restarting it" in server.output, "noticed")
    server.wait_ready()
    assert load.right_answers(server.port, TOKENS) == before
    assert server.stop() == 0
