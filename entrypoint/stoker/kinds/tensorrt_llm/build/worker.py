"""Builds an engine of the kind `tensorrt_llm`, in a process of its own (stoker.build.child)."""

from __future__ import annotations

import sys

from stoker.build.child import Lines, run_worker
from stoker.build.jobs import Job


def build_job(job: Job, lines: Lines) -> dict[str, object]:
    from stoker.kinds.tensorrt_llm.build.builder import build

    return build(job, lines)


if __name__ == "__main__":
    sys.exit(run_worker(build_job, tidies_up=True))
