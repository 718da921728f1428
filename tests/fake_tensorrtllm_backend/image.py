"""Lays Triton out as NVIDIA's image has it: the wheel's real server and Python backend, and the stand-in."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from stoker.launch.installation import assemble_backends, find_installation

BACKEND = Path(__file__).with_name("backend.py")


def make_triton(root: Path) -> Path:
    """Returns the folder for PATH, the one that holds `tritonserver`."""
    installation = find_installation()
    backends = assemble_backends(installation, root / "backends")
    for link in (backends / "python").iterdir():
        shutil.copy(link.resolve(), link.with_suffix(".copy"))
        link.with_suffix(".copy").replace(link)  # Triton takes no library from outside of its folder here
    model = backends / "tensorrtllm" / "model.py"
    model.parent.mkdir()
    model.write_text(f"import sys\n\nsys.path[:0] = {sys.path!r}\n" + _without_future(BACKEND.read_text()))
    libraries = os.pathsep.join(str(folder) for folder in installation.libraries)
    server = root / "bin" / "tritonserver"
    server.parent.mkdir()
    server.write_text(f'#!/bin/sh\nexec env LD_LIBRARY_PATH="{libraries}" "{installation.server}" "$@"\n')
    server.chmod(0o755)
    return server.parent


def _without_future(source: str) -> str:
    """`from __future__` must be a file's first statement, and the path is set before it."""
    return source.replace("from __future__ import annotations\n", "")


def make_engine(root: Path, ranks: int, **built: Any) -> Path:
    """A store's directory with what trtllm-build leaves, as far as the stand-in looks at it: `built` is the engine's
    config.json, except for the ranks."""
    folder = root / "engine"
    folder.mkdir(parents=True)
    model = {**built.pop("pretrained_config", {}), "mapping": {"world_size": ranks}}
    (folder / "config.json").write_text(json.dumps({**built, "pretrained_config": model}))
    for rank in range(ranks):
        (folder / f"rank{rank}.engine").write_bytes(b"an engine" * 1000)
    return root
