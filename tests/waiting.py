"""Waiting for conditions instead of times: a busy machine is no failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stoker.processes import process_lives

SECONDS = 240.0  # how long anything may take before it is taken for stuck


def wait_until(condition: Callable[[], Any], what: str = "so", seconds: float = SECONDS) -> float:
    """The seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not {what} after {seconds} s"
        time.sleep(0.01)
    return time.monotonic() - began


async def until(condition: Callable[[], Any], what: str = "so", seconds: float = SECONDS) -> None:
    """`wait_until` in an event loop, which goes on meanwhile."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not {what} after {seconds} s"
        await asyncio.sleep(0.001)


def wait_for_children(pid: int) -> list[int]:
    """Of a process, those that its first thread started, once there is one."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = ""

    def is_parent() -> bool:
        nonlocal found
        found = children.read_text()
        return bool(found)

    wait_until(is_parent, f"a parent: {pid}")
    return [int(child) for child in found.split()]


def wait_until_gone(*pids: int) -> None:
    wait_until(lambda: not any(process_lives(pid) for pid in pids), f"without the processes {pids}")
