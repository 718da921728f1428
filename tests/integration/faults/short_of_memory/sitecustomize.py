"""Stands in for a container's memory limit: the kernel's count of kills is a file that dying_runtime writes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if "serve" in sys.orig_argv:
    from stoker.kinds.openvino.runtime import engine
    from stoker.launch import death

    death._CGROUP = Path(os.environ["SHORT_OF_MEMORY"])
    engine.GENERATOR = "dying_runtime:open_runtime"
