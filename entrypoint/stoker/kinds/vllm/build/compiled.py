"""Kernels that another engine of the store has compiled already: FlashInfer's sampler takes nvcc 100 s."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from stoker.kinds.vllm.runtime.process import CACHE, KERNELS
from stoker.store.manifest import UnusableEngineError, file_digest, read_manifest

_PREFIX = f"{CACHE}/{KERNELS}/"


def take_kernels(engines: Iterable[Path], site: Path) -> None:
    """Copies to `site`, which is not there yet, the kernels of the first of these engines that has some and has them
    undamaged. Where there is none, vLLM compiles them, which is no error."""
    for engine in engines:
        try:
            if _copy(engine, site):
                return
        except (OSError, UnusableEngineError):  # it may be evicted at this moment
            shutil.rmtree(site, ignore_errors=True)


def _copy(engine: Path, site: Path) -> bool:
    """Whether there were any. Raises OSError, UnusableEngineError."""
    files = [file for file in read_manifest(engine).files if file.path.startswith(_PREFIX)]
    for file in files:
        copy = site / file.path.removeprefix(_PREFIX)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(engine / file.path, copy)
        if file_digest(copy) != file.sha256:
            raise UnusableEngineError(f"{file.path} is not the file that was built")
    return bool(files)
