"""Where the parts of Triton are on this machine, and a backend directory of our own put together from them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from stoker.child_environment import child_environment
from stoker.errors import EngineError
from stoker.installing import with_extra
from stoker.probe.libpython import find_libpython, libpython_name

_IMAGE_SERVER = Path("/opt/tritonserver/bin/tritonserver")
_LIBRARY = "libtriton_python.so"
_TMP = "/tmp"  # noqa: S108
# What a constant of the library begins the directory's name with, and the same number of bytes.
_IN_TMP, _IN_WORKING_DIRECTORY = b"/tmp/python_env_", b"./python_env____"
_INSTALL = with_extra("cpu")


@dataclass(frozen=True)
class Installation:
    """`libraries` are folders for LD_LIBRARY_PATH; `stub` is the one for the running Python."""

    server: Path
    backend: Path
    stub: Path
    libraries: tuple[Path, ...]


def find_installation() -> Installation:
    """Triton from the nvidia-pytriton wheel. EngineError, which says what to do, if anything of it is missing."""
    root = _wheel_root()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    installation = Installation(
        server=root / "bin" / "tritonserver",
        backend=root / "backends" / "python",
        stub=root / "python_backend_stubs" / version / "triton_python_backend_stub",
        libraries=(root.parent.parent / "nvidia_pytriton.libs", _libpython_folder()),
    )
    _check(installation, version)
    return installation


def _wheel_root() -> Path:
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        raise EngineError("Triton Inference Server is not installed", why="no package pytriton", remedy=_INSTALL)
    return Path(next(iter(spec.submodule_search_locations))) / "tritonserver"


def find_image(backend: str) -> Installation:
    """A whole Triton, as NVIDIA's images have it, by `tritonserver` on the path or in its usual place.

    `backend` is the one that must be there. EngineError, which says what to do, if it is not.
    """
    found = shutil.which("tritonserver") or str(_IMAGE_SERVER)
    backends = Path(found).resolve().parent.parent / "backends"
    if not (backends / backend).is_dir():
        why = f"no {backends / backend}"
        raise EngineError(f"Triton's backend {backend} is not installed", why=why, remedy="use the NVIDIA image")
    python = backends / "python"
    return Installation(Path(found), python, python / "triton_python_backend_stub", ())


def _check(installation: Installation, version: str) -> None:
    required = {
        "the server": installation.server,
        "its Python backend": installation.backend / _LIBRARY,
        f"its stub for Python {version}": installation.stub,
        "its libraries": installation.libraries[0],
    }
    for what, path in required.items():
        if not path.exists():
            raise EngineError(f"Triton is incomplete: {what} is missing", why=f"no {path}", remedy=_INSTALL)


def _libpython_folder() -> Path:
    """The folder of the shared libpython that the stub links."""
    library = find_libpython()
    if library is None:
        name = libpython_name()
        package = name.removesuffix(".so.1.0")
        remedy = f"on Debian and Ubuntu: apt install {package}"
        raise EngineError(f"{name} is missing", why="Triton's Python stub links it", remedy=remedy)
    return library.parent


def assemble_backends(installation: Installation, directory: Path) -> Path:
    """A backend directory in which the Python backend finds the stub beside its library: `directory`, or that of an
    image, which is whole."""
    without_tmp = not os.access(_TMP, os.W_OK | os.X_OK)
    if installation.stub.parent == installation.backend and not without_tmp:
        return installation.backend.parent
    target = directory / "python"
    target.mkdir(parents=True)
    for source in {*installation.backend.iterdir(), installation.stub}:
        if source.name == _LIBRARY:
            _copy_without_tmp(source, target / source.name, needed=without_tmp)
        elif source == installation.stub and not os.access(source, os.X_OK):
            _copy_executable(source, target / source.name)
        elif source.is_file():
            (target / source.name).symlink_to(source)
    return directory


def _copy_executable(stub: Path, target: Path) -> None:
    """Triton would make the installation's own executable: for its owner alone, and only if that is who runs it."""
    shutil.copyfile(stub, target)
    target.chmod(0o700)


def _copy_without_tmp(library: Path, target: Path, *, needed: bool) -> None:
    """The Python backend makes a directory under /tmp when it is loaded, whatever TMPDIR says, ends where it cannot,
    and leaves it there when it is killed. In this copy the directory is one of its working directory, the run
    directory, which is removed with it. Another build of the library is taken as it is, unless this is `needed`."""
    code = library.read_bytes()
    if code.count(_IN_TMP) != 1 and not needed:
        target.symlink_to(library)
        return
    if code.count(_IN_TMP) != 1:
        raise EngineError(
            f"{_TMP} cannot be written", why="this Triton needs it", remedy="mount a writable directory there"
        )
    target.write_bytes(code.replace(_IN_TMP, _IN_WORKING_DIRECTORY))


def server_environment(installation: Installation) -> dict[str, str]:
    """What children get of this process's environment, with the server's libraries and huge pages for the weights."""
    inherited = os.environ.get("LD_LIBRARY_PATH")
    libraries = [str(folder) for folder in installation.libraries] + ([inherited] if inherited else [])
    return child_environment({"LD_LIBRARY_PATH": os.pathsep.join(libraries), "GLIBC_TUNABLES": _with_huge_pages()})


def _with_huge_pages() -> str:
    """glibc asks the kernel for huge pages behind large allocations (glibc manual, "Memory Allocation Tunables").

    One stream reads all weights for each token: with 4 KiB pages a tenth of that time goes into address translation.
    What the user set stays.
    """
    given = os.environ.get("GLIBC_TUNABLES", "")
    return given if "glibc.malloc.hugetlb" in given else ":".join(filter(None, [given, "glibc.malloc.hugetlb=1"]))
