"""The models whose files the cache holds."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stoker.resolve.hub_cache import PARTIAL, PREFIX

_GRAVE = ".deleted-"


@dataclass(frozen=True)
class KeptModel:
    """`name`: the repository. `bytes` on the disk, `partial` of them of downloads that did not finish. `used`: when it
    was last resolved for serving, or fetched, in seconds since the epoch."""

    name: str
    folder: Path
    bytes: int
    partial: int
    used: float


def kept_models(models: Path) -> list[KeptModel]:
    """By name; what goes while it is looked at is left out."""
    return sorted(_kept(models), key=lambda each: each.name)


def kept_names(models: Path) -> list[str]:
    return sorted(map(_name, _folders(models)))


def _folders(models: Path) -> Iterator[Path]:
    return models.glob(f"{PREFIX}*--*") if models.is_dir() else iter(())


def _name(folder: Path) -> str:
    return folder.name.removeprefix(PREFIX).replace("--", "/", 1)


def _kept(models: Path) -> Iterator[KeptModel]:
    for folder in _folders(models):
        try:
            used = folder.stat().st_mtime
        except OSError:
            continue
        partial = sum(map(_size, (folder / "blobs").glob(f"*{PARTIAL}")))
        yield KeptModel(_name(folder), folder, sum(map(_size, folder.rglob("*"))), partial, used)


def _size(path: Path) -> int:
    try:
        status = path.lstat()
    except OSError:
        return 0
    return status.st_blocks * 512 if path.is_file() and not path.is_symlink() else 0


def half_deleted(models: Path) -> list[Path]:
    """What a process that was killed had begun to delete; nobody needs what another is deleting now either."""
    return [grave for grave in models.glob(f"{_GRAVE}*") if _has_contents(grave)]


def _has_contents(folder: Path) -> bool:
    """False for one that has vanished. An empty grave is about to be filled."""
    try:
        return any(folder.iterdir())
    except OSError:
        return False


def delete_model(models: Path, model: KeptModel) -> None:
    """Moved out of the way first, so that no reader sees half of it. OSError where that is not possible."""
    grave = Path(tempfile.mkdtemp(dir=models, prefix=_GRAVE))
    try:
        model.folder.rename(grave / model.folder.name)
    finally:
        shutil.rmtree(grave, ignore_errors=True)
    shutil.rmtree(models / ".locks" / model.folder.name, ignore_errors=True)
