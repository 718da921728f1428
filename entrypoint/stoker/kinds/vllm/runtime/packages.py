"""Where an environment's packages are, found without running its Python, which takes as long as all of a plan."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_SYSTEM = re.compile(r"^include-system-site-packages\s*=\s*true\s*$", re.MULTILINE | re.IGNORECASE)
_HOME = re.compile(r"^home\s*=\s*(.+?)\s*$", re.MULTILINE)


def packages_of(python: Path) -> tuple[str, ...]:
    """Of the environment whose `bin/python` this is: its own folders, those that its .pth files name, and the base
    installation's where it takes them too (https://docs.python.org/3/library/site.html)."""
    environment = python.parent.parent
    return tuple(dict.fromkeys(str(folder) for root in _roots(environment) for folder in _folders(root)))


def _roots(environment: Path) -> Iterator[Path]:
    yield environment
    try:
        settings = (environment / "pyvenv.cfg").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    if _SYSTEM.search(settings) and (home := _HOME.search(settings)):
        base = Path(home[1]).parent
        yield from (base, base / "local")  # which is where Debian's Python has what pip installs


def _folders(root: Path) -> Iterator[Path]:
    for folder in sorted(root.glob("lib*/python3*/*-packages")):
        yield folder
        for file in sorted(folder.glob("*.pth")):
            yield from _named(file)


def _named(file: Path) -> Iterator[Path]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in map(str.strip, lines):
        if line and not line.startswith(("#", "import ", "import\t")) and (place := file.parent / line).is_dir():
            yield place
