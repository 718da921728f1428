"""The shared libpython, which Triton's Python stub links: not every Python comes with it."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path


def libpython_name() -> str:
    return f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"


def find_libpython(root: Path = Path("/")) -> Path | None:
    """The running Python's shared library, None if it has none.

    Looks where the interpreter was built to have it, in the interpreter's own folders, then where the dynamic linker
    does. Debian's and Ubuntu's system Python has it only with the package libpython3.X.
    """
    candidates = (folder / libpython_name() for folder in _folders(root))
    return next((path for path in candidates if path.is_file()), None)


def _folders(root: Path) -> Iterator[Path]:
    for variable in ("LIBDIR", "LIBPL"):
        if folder := sysconfig.get_config_var(variable):
            yield root / str(folder).lstrip("/")
    for prefix in (sys.base_prefix, sys.prefix, Path(sys.executable).resolve().parents[1]):
        yield root / str(prefix).lstrip("/") / "lib"
    multiarch = sysconfig.get_config_var("MULTIARCH")
    if multiarch:
        yield root / "usr/lib" / str(multiarch)
    yield from _linker_folders(root)
    yield from (root / folder for folder in ("usr/local/lib", "usr/lib64", "usr/lib", "lib64", "lib"))


def _linker_folders(root: Path) -> Iterator[Path]:
    """The folders of ld.so.conf(5), as its snippets name them."""
    for path in sorted((root / "etc/ld.so.conf.d").glob("*.conf")):
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("/"):
                yield root / line.strip().lstrip("/")
