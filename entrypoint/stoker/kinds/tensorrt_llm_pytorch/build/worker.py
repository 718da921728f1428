"""Builds an engine of the kind `tensorrt_llm_pytorch`, in a process of its own (stoker.build.child)."""

from __future__ import annotations

import sys

from stoker.build.child import run_worker
from stoker.kinds.tensorrt_llm_pytorch.build.engine import build

if __name__ == "__main__":
    sys.exit(run_worker(build, tidies_up=True))
