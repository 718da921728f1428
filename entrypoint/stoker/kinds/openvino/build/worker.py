"""Builds an engine of the kind `openvino`, in a process of its own (stoker.build.child)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from stoker.build.child import Lines, run_worker
from stoker.build.jobs import Job
from stoker.kinds.openvino.speculation import DRAFT_FOLDER, as_draft


def build_job(job: Job, lines: Lines) -> dict[str, Any]:
    from stoker.kinds.openvino.build.precisions import build

    calibration = Path(job.calibration) if job.calibration else None
    record = build(job.model, job.chosen, Path(job.directory), lines, calibration)
    if job.draft is not None:
        lines.phase("building", f"{job.draft.served_name}, which guesses tokens")
        folder = Path(job.directory, DRAFT_FOLDER)
        folder.mkdir()
        record["draft"] = build(job.draft, as_draft(job.chosen), folder, lines)
    return record


if __name__ == "__main__":
    sys.exit(run_worker(build_job))
