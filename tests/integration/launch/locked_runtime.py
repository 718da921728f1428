"""The usual runtime, whose first step keeps the interpreter's lock for ever."""

from __future__ import annotations

import ctypes
from pathlib import Path

from stoker.kinds.openvino.runtime.paged import PagedRuntime

LOCKED = "locked"  # in the run directory, the stub's working directory


class LockedRuntime(PagedRuntime):
    def step(self) -> bool:
        Path(LOCKED).touch()
        ctypes.PyDLL(None).pause()
        return True
