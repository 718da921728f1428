"""Builds an engine of the kind `openvino`, in a process of its own (stoker.build.child)."""

from __future__ import annotations

import sys
from pathlib import Path

from stoker.build.child import Lines, run_worker
from stoker.build.jobs import Job
from stoker.kinds.openvino.speculation import DRAFT_FOLDER, as_draft
from stoker.plan.speculation import EAGLE3
from stoker.resolve.heads import seen_layers
from stoker.resolve.model import Model


def build_job(job: Job, lines: Lines) -> dict[str, object]:
    from stoker.kinds.openvino.build.precisions import build

    calibration = Path(job.calibration) if job.calibration else None
    head = job.draft if job.chosen.speculative == EAGLE3 else None
    seen = seen_layers(head.config, job.model.architecture.layers) if head else ()
    record = build(job.model, job.chosen, Path(job.directory), lines, calibration, seen=seen)
    if job.draft is not None:
        record["draft"] = _build_guesser(job, job.draft, lines)
    return record


def _build_guesser(job: Job, draft: Model, lines: Lines) -> dict[str, object]:
    from stoker.kinds.openvino.build.precisions import build, build_eagle3

    lines.phase("building", f"{draft.served_name}, which guesses tokens")
    folder, chosen = Path(job.directory, DRAFT_FOLDER), as_draft(job.chosen)
    folder.mkdir()
    if job.chosen.speculative == EAGLE3:
        return build_eagle3(draft, job.model, chosen, folder, lines)
    return build(draft, chosen, folder, lines)


if __name__ == "__main__":
    sys.exit(run_worker(build_job))
