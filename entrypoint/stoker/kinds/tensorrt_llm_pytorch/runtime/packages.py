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


def theirs_first(paths: Sequence[str]) -> list[str]:
    """`paths` of modules with our own folder of packages moved to the end; as they are where there is but one."""
    ours = sysconfig.get_path("purelib")
    if ours not in paths or not _installed_elsewhere(ours):
        return list(paths)
    return [*(path for path in paths if path != ours), ours]


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
