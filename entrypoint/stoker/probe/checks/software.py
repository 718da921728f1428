"""Python, its shared library and Triton: looked up without being imported."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from stoker.installing import with_extra
from stoker.probe.checks.check import Check
from stoker.probe.libpython import find_libpython, libpython_name

_INSTALL = with_extra("cpu")
_GLIBC = (2, 35)


def check_python(running: tuple[int, int] = sys.version_info[:2]) -> Check:
    """Triton's Python stub needs numpy below 2, which ends at Python 3.12."""
    found = ".".join(map(str, running))
    if (3, 10) <= running <= (3, 12):
        return Check("Python", "ok", found)
    return Check("Python", "failed", found, "use Python 3.10, 3.11 or 3.12")


def check_libpython() -> Check:
    path = find_libpython()
    if path is not None:
        return Check("libpython", "ok", str(path))
    package = libpython_name().removesuffix(".so.1.0")
    remedy = f"Debian and Ubuntu: apt install {package}; uv and pyenv have Pythons with it"
    return Check("libpython", "failed", f"{libpython_name()} is missing; Triton's Python stub links it", remedy)


def check_glibc(library: tuple[str, str] | None = None) -> Check:
    """The wheel of Triton is built against 2.35 (Ubuntu 22.04, Debian 12)."""
    name, number = library or platform.libc_ver()
    found = f"{name or 'unknown C library'} {number}".strip()
    parts = tuple(int(part) for part in number.split(".")[:2] if part.isdigit())
    if name == "glibc" and parts >= _GLIBC:
        return Check("C library", "ok", found)
    return Check("C library", "failed", found, "Triton needs glibc 2.35 or newer: Ubuntu 22.04, Debian 12, or an image")


def check_triton() -> Check:
    return check_package("Triton", "nvidia-pytriton", _INSTALL)


def check_package(name: str, distribution: str, install: str) -> Check:
    """Whether a distribution is installed; `install` says how it can be."""
    try:
        return Check(name, "ok", f"{distribution} {version(distribution)}")
    except PackageNotFoundError:
        return Check(name, "failed", f"{distribution} is not installed", install)
