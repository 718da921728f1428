"""Builds an engine of the kind `tensorrt_llm_pytorch`, in a process of its own (stoker.build.child)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from stoker.build.child import Lines, run_worker
from stoker.build.jobs import Job
from stoker.build.tensorrt_llm_pytorch.engine import build


def build_job(job: Job, lines: Lines) -> dict[str, Any]:
    return build(job.model, job.chosen, Path(job.directory), lines)


if __name__ == "__main__":
    sys.exit(run_worker(build_job))
