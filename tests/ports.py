"""Ports for servers that have to be told theirs before they start."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

_FIRST, _LEAST = 10_000, 10_000  # of the range; how many it has
_RANDOM = random.SystemRandom()  # whatever a test has seeded


def free_port() -> int:
    """Below those that the kernel gives to connections, so that none of them takes it before the server listens."""
    others = Path("/proc/sys/net/ipv4/ip_local_port_range")
    end = max(int(others.read_text().split()[0]), _FIRST + _LEAST)
    while True:
        port = _RANDOM.randrange(_FIRST, end)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port
