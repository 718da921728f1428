"""What an engine's directory has of the model's own files, so that serving needs nothing of the model's directory."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from stoker.errors import StorageError
from stoker.resolve.checkpoint import NAMED_TEMPLATES, small_files

COMPANIONS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
)


def copy_companions(source: Path, directory: Path) -> list[str]:
    """Copies the tokenizer, templates and configs that are there; returns their names."""
    names = [name for name in COMPANIONS if (source / name).is_file()]
    templates = (f"{NAMED_TEMPLATES}/{path.name}" for path in (source / NAMED_TEMPLATES).glob("*.jinja"))
    names += small_files(name for name in templates if (source / name).is_file())
    for name in names:
        try:
            (directory / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source / name, directory / name)
        except OSError as error:
            raise StorageError(f"{name} cannot be copied into the engine", why=str(error)) from error
        sync(directory / name)
    for changed in {(directory / name).parent for name in names} | {directory}:
        sync(changed)
    return names


def sync(path: Path) -> None:
    """Returns when the file's, or directory's, data has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise StorageError(
            f"{path.name} cannot be written to disk", why=str(error), remedy="free disk space"
        ) from error
    finally:
        os.close(descriptor)


def link_file(source: Path, target: Path) -> None:
    """A hard link to the file's data where both are on one file system, so that it stays when the model's copy goes;
    else a symbolic one: weights are never copied."""
    with contextlib.suppress(OSError):
        os.link(source.resolve(), target)
        return
    target.symlink_to(source.resolve())
