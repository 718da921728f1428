"""Stoker's own source for another environment's Python, without the packages of this one."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def link_source(folder: Path, *names: str) -> None:
    """Makes of `folder` an entry for PYTHONPATH with these files and folders of the package `stoker`, and no others."""
    for name in names:
        place = folder / _PACKAGE.name / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(_PACKAGE / name)
