"""Which process something in the cache belongs to, and whether that process still lives as far as can be told here."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from stoker.processes import start_time

_TEXT = re.compile(r"([0-9a-f]+)\.(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class Owner:
    """`boot` names a boot of one machine, `namespace` its PID namespace; `started` tells a pid from its next user."""

    boot: str
    namespace: int
    pid: int
    started: int

    def __str__(self) -> str:
        return f"{self.boot}.{self.namespace}.{self.pid}.{self.started}"

    @property
    def lives(self) -> bool | None:
        """None where this process cannot see it: it is on another machine, or in another container."""
        here = this_process()
        if (self.boot, self.namespace) != (here.boot, here.namespace):
            return None
        return start_time(self.pid) == self.started


@lru_cache(maxsize=1)
def _of_pid(pid: int) -> Owner:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    return Owner(boot[:12], Path("/proc/self/ns/pid").stat().st_ino, pid, start_time(pid))


def this_process() -> Owner:
    return _of_pid(os.getpid())


def owner_in(text: str) -> Owner | None:
    """The owner that a file name or a document mentions."""
    match = _TEXT.search(text)
    return Owner(match[1], int(match[2]), int(match[3]), int(match[4])) if match else None
