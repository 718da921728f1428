"""The checkpoint's files in an engine's directory: links where the file system allows, else copies."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from stoker.errors import BuildError, StorageError
from stoker.kinds.tensorrt_llm.build.offered import put_older_form
from stoker.progress import Progress
from stoker.resolve.model import Model


def place_checkpoint(model: Model, directory: Path, progress: Progress) -> int:
    """Every file of the model under `directory`; returns the bytes that had to be copied."""
    if model.directory is None:
        raise BuildError(f"{model.reference} has no files here", why="only its facts were fetched")
    copied = done = 0
    total = sum((model.directory / name).stat().st_size for name in model.files)
    for name in model.files:
        source, target = (model.directory / name).resolve(), directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copied += _place(source, target)
        done += source.stat().st_size
        progress.advance(done, total)
    put_older_form(directory)
    return copied


def _place(source: Path, target: Path) -> int:
    """A hard link takes no room, and stays when the model's cache is emptied. Bytes copied where there can be none."""
    try:
        os.link(source, target)
    except OSError:
        return _copy(source, target)
    return 0


def _copy(source: Path, target: Path) -> int:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise StorageError(
            f"{source.name} cannot be copied into the engine", why=str(error), remedy="free disk space"
        ) from error
    return target.stat().st_size
