"""From a checkpoint and a plan to an engine's directory."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from stoker.build.companions import copy_companions
from stoker.build.tensorrt_llm_pytorch.arguments import CHECKPOINT, FILE_NAME, llm_arguments
from stoker.build.tensorrt_llm_pytorch.checkpoint import place_checkpoint
from stoker.errors import BuildError
from stoker.plan.types import Chosen
from stoker.progress import Progress
from stoker.resolve.model import Model


def build(model: Model, chosen: Chosen, directory: Path, progress: Progress) -> dict[str, Any]:
    """Returns what engine.json records of it. Raises BuildError and StorageError."""
    if model.directory is None:
        raise BuildError(f"{model.reference} has no files here", why="only its facts were fetched")
    started = time.monotonic()
    progress.phase("building", f"{model.served_name} for TensorRT-LLM's PyTorch backend")
    copied = place_checkpoint(model, directory / CHECKPOINT, progress)
    (directory / FILE_NAME).write_text(json.dumps(llm_arguments(chosen), indent=1))
    companions = copy_companions(model.directory, directory)
    return {
        "precision": chosen.precision,
        "seconds": {"checkpoint": round(time.monotonic() - started, 3)},
        "copied_bytes": copied,
        "companions": companions,
    }
