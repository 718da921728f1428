"""Keeps a process, and what it starts, to some CPUs, and its memory near them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from dataclasses import dataclass

_SET_MEMPOLICY = {"x86_64": 238, "aarch64": 237}
_PREFERRED = 1
_NODES = 1024  # of the mask that the kernel is given, in bits
_BITS = 8 * ctypes.sizeof(ctypes.c_ulong)


@dataclass(frozen=True)
class Pinning:
    """`cpus`: all where it is empty. `node`: the NUMA node that memory is taken from while it has some; another one is
    used before an allocation fails."""

    cpus: tuple[int, ...] = ()
    node: int | None = None

    def __str__(self) -> str:
        node = "" if self.node is None else str(self.node)
        return f"{':'.join(map(str, self.cpus))}@{node}"

    @staticmethod
    def of(text: str) -> Pinning:
        cpus, _, node = text.partition("@")
        return Pinning(tuple(map(int, filter(None, cpus.split(":")))), int(node) if node else None)

    def apply(self) -> None:
        """To this process. What the system does not allow (containers often forbid the memory's policy) is left: first
        use by a pinned thread puts memory on the thread's node anyway."""
        if self.cpus:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, self.cpus)
        if self.node is not None and self.node < _NODES:
            _prefer(self.node)


ANYWHERE = Pinning()


def _prefer(node: int) -> None:
    number = _SET_MEMPOLICY.get(platform.machine())
    if number is None:
        return
    mask = (ctypes.c_ulong * (_NODES // _BITS))()
    mask[node // _BITS] = 1 << node % _BITS
    ctypes.CDLL(None).syscall(number, _PREFERRED, mask, ctypes.c_ulong(_NODES + 1))
