"""Makes an engine of the kind `torch`, in a process of its own (stoker.build.child).

Nothing is compiled: the engine is the checkpoint itself, whose weights are linked to, and what serving needs beside it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from stoker.build.child import Lines, run_worker
from stoker.build.companions import copy_companions, link_file
from stoker.build.jobs import Job
from stoker.errors import UnsupportedModelError
from stoker.resolve.checkpoint import INDEX
from stoker.resolve.model import Model


def build_job(job: Job, lines: Lines) -> dict[str, object]:
    started = time.monotonic()
    check_known(job.model)
    source, directory = job.model.directory, Path(job.directory)
    assert source is not None
    copy_companions(source, directory)
    names = [name for name in (*job.model.weights.files, INDEX) if (source / name).exists()]
    for done, name in enumerate(names):
        lines.advance(done, len(names), "files")
        link_file(source / name, directory / name)
    return {"seconds": round(time.monotonic() - started, 3), "linked": names}


def check_known(model: Model) -> None:
    """UnsupportedModelError for what the installed transformers has no code for; the checkpoint's own is never run."""
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    name = str(model.config.get("model_type", ""))
    if name in CONFIG_MAPPING and CONFIG_MAPPING[name] in AutoModelForCausalLM._model_mapping:
        return
    raise UnsupportedModelError(
        f"{model.architecture.name} cannot be served",
        why=f"the installed transformers does not support the model type {name!r}",
        remedy="upgrade transformers, if a newer version supports it; code in the checkpoint itself is not run",
    )


if __name__ == "__main__":
    sys.exit(run_worker(build_job))
