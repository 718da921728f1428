"""From a checkpoint and a plan to an engine's directory."""

from __future__ import annotations

import json
import time
from pathlib import Path

from stoker.build.child import Lines
from stoker.build.companions import copy_companions
from stoker.build.jobs import Job
from stoker.errors import BuildError
from stoker.kinds.tensorrt_llm_pytorch.build.arguments import llm_arguments
from stoker.kinds.tensorrt_llm_pytorch.build.checkpoint import place_checkpoint
from stoker.kinds.tensorrt_llm_pytorch.build.quantize import is_quantised_here, quantised_checkpoint
from stoker.kinds.tensorrt_llm_pytorch.files import ARGUMENTS, CHECKPOINT


def build(job: Job, lines: Lines) -> dict[str, object]:
    """Fills the job's directory and returns what engine.json records of it. Raises BuildError and StorageError."""
    model, chosen, directory = job.model, job.chosen, Path(job.directory)
    if model.directory is None:
        raise BuildError(f"{model.reference} has no files here", why="only its facts were fetched")
    started = time.monotonic()
    lines.phase("building", f"{model.served_name} for TensorRT-LLM's PyTorch backend")
    if is_quantised_here(job):
        record = quantised_checkpoint(job, directory / CHECKPOINT, lines)
    else:
        record = {"copied_bytes": place_checkpoint(model, directory / CHECKPOINT, lines)}
    (directory / ARGUMENTS).write_text(json.dumps(llm_arguments(chosen), indent=1))
    companions = copy_companions(model.directory, directory)
    return {
        "precision": chosen.precision,
        "seconds": {"checkpoint": round(time.monotonic() - started, 3)},
        "companions": companions,
        **record,
    }
