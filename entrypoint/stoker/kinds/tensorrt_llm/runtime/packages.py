"""Whose packages come first, where TensorRT-LLM is installed beside us rather than with us, as in our NVIDIA image.

The API process wants our versions. A process that imports TensorRT-LLM wants those it was tested with: its transformers
refuses to be imported with a newer huggingface_hub, for one.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from stoker.probe.visible_devices import visible_to_cuda

# Open MPI, by which TensorRT-LLM starts a process for each GPU, refuses to do so as root unless told twice.
_AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def theirs_first(paths: Sequence[str]) -> list[str]:
    """`paths` of modules with our own folder of packages moved to the end; as they are where there is but one."""
    ours = sysconfig.get_path("purelib")
    if ours not in paths or not _installed_elsewhere(ours):
        return list(paths)
    return [*(path for path in paths if path != ours), ours]


def gpu_environment(gpus: Sequence[str]) -> dict[str, str]:
    """Of a process that imports TensorRT-LLM and is to see these GPUs, named by UUID; empty leaves all visible."""
    return {**visible_to_cuda(gpus), **_AS_ROOT, **their_environment()}


def their_environment() -> dict[str, str]:
    """What makes a Python program see theirs first."""
    ours = sysconfig.get_path("purelib")
    theirs = [path for path in sys.path if path != ours and path.endswith("-packages")]
    if not theirs or not _installed_elsewhere(ours):
        return {}
    inherited = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": os.pathsep.join([*theirs, *filter(None, [inherited])])}


def _installed_elsewhere(ours: str) -> bool:
    spec = find_spec("tensorrt_llm")
    places = spec.submodule_search_locations if spec else None
    return bool(places) and all(Path(place).parent != Path(ours) for place in places or ())
