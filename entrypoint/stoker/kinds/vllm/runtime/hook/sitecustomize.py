"""Runs first in every Python process below the guard: makes those that hold an engine die with their parent.

Linux kills a process whose parent ends if it asked for that (prctl(2), PR_SET_PDEATHSIG): even while it is deep in a
kernel, and whatever killed the parent. "Parent" is the thread that started it, so only those ask that are started from
a main thread: the host, and what multiprocessing spawns (the EngineCore, and its ranks).
"""

import contextlib
import ctypes
import importlib.machinery
import importlib.util
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def _die_with_parent(guard: int) -> None:
    spawned = "--multiprocessing-fork" in sys.orig_argv
    if not spawned and os.getppid() != guard:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if spawned and os.getppid() in (1, guard):  # its parent has ended already, and the guard has inherited it
        os._exit(1)


def _run_next() -> None:
    """The sitecustomize that this one hides, if there is one."""
    here = Path(__file__).resolve().parent
    others = [path for path in sys.path if Path(path).resolve() != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if guard := os.environ.get("STOKER_VLLM_GUARD"):
    with contextlib.suppress(OSError, ValueError):
        _die_with_parent(int(guard))
_run_next()
