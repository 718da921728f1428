"""A model's files in a plain directory: no links out of it, nothing of the hub's layout."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from stoker.errors import StorageError
from stoker.resolve.model import Model


def copy_model(model: Model, target: Path, cache: Path) -> None:
    """Files that are there already are replaced, one by one and each as a whole; other files stay. Of what the cache
    holds on the same file system nothing is copied: both names are of one file, which nobody edits. StorageError."""
    assert model.directory is not None
    own = cache.resolve()
    try:
        for name in model.files:
            source = (model.directory / name).resolve()
            _place(source, target / name, shared=source.is_relative_to(own))
    except OSError as error:
        raise StorageError(f"{target} cannot be written", why=error.strerror or str(error)) from error


def _place(source: Path, target: Path, *, shared: bool) -> None:
    if target.exists() and source.samefile(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".model-", dir=target.parent) as workspace:
        new = Path(workspace) / "file"
        if not (shared and _linked(source, new)):
            shutil.copyfile(source, new)
        new.replace(target)


def _linked(source: Path, new: Path) -> bool:
    """False on another file system, or one that has no links."""
    try:
        new.hardlink_to(source)
    except OSError:
        return False
    return True
