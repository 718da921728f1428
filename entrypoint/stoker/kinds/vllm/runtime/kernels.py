"""Kernels that FlashInfer compiled during the build, kept as the package in which it looks before it compiles.

FlashInfer compiles a kernel when it is first needed, with nvcc: that of its sampler took 100 s on a machine with an
H200. It finds the result again only at the same absolute path, and a host works in a new folder at each start. But
what the package `flashinfer_jit_cache` has it loads from wherever that is: FlashInfer's authors publish all kernels so,
and an engine has those that it needs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

_PACKAGE = "flashinfer_jit_cache"
_VERSION = "version"  # a file in the package: the version of FlashInfer that compiled it, which takes no other
_INIT = """from pathlib import Path

_FOLDER = Path(__file__).parent
__version__ = (_FOLDER / "{version}").read_text()


def get_jit_cache_dir() -> str:
    return str(_FOLDER)
"""


def pack_kernels(workspace: Path, site: Path) -> None:
    """Moves what was compiled in FlashInfer's workspace to `site`, a folder for PYTHONPATH that may have kernels of the
    same version already; makes none for nothing."""
    compiled = [path for path in workspace.glob(".cache/flashinfer/*/*/cached_ops") if any(path.glob("*/*.so"))]
    if len(compiled) != 1:
        return  # of several versions or architectures FlashInfer would take any
    package, version = site / _PACKAGE, compiled[0].parent.parent.name
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(_INIT.format(version=_VERSION))
    (package / _VERSION).write_text(version)
    for library in compiled[0].glob("*/*.so"):
        (package / library.parent.name).mkdir(exist_ok=True)
        shutil.move(library, package / library.parent.name / library.name)
    for name in ("cached_ops", "generated"):
        shutil.rmtree(compiled[0].parent / name, ignore_errors=True)


def kernel_path(site: Path, installed: Iterable[str]) -> tuple[Path, ...]:
    """`site`, if the FlashInfer in the folders `installed` may load what is there, and has no such package itself."""
    folders = [Path(folder) for folder in installed]
    try:
        version = (site / _PACKAGE / _VERSION).read_text()
    except OSError:
        return ()
    same = any((folder / f"flashinfer_python-{version}.dist-info").exists() for folder in folders)
    own = any((folder / _PACKAGE).exists() for folder in folders)
    return (site.absolute(),) if same and not own else ()
