"""Starting the host: a folder that looks the same wherever it is, an environment of its own, and a connection to it.

vLLM's compiled artifacts are found by a hash over its settings, and paths are among these. So the host works in a
folder of its own and is given relative paths alone: `model` is a link to the checkpoint, `cache` a copy of what the
build left, since vLLM writes to its caches while an engine in the store never changes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from stoker.child_environment import child_environment
from stoker.errors import BuildError, EngineError, EngineMemoryError
from stoker.json_text import parse_json
from stoker.kinds.vllm.runtime import guard, link
from stoker.kinds.vllm.runtime.kernels import kernel_path
from stoker.kinds.vllm.runtime.link import Link
from stoker.kinds.vllm.runtime.packages import packages_of
from stoker.launch.death import NO_ROOM
from stoker.source_links import link_source

PYTHON = "STOKER_VLLM_PYTHON"
LIBRARY_PATH = "STOKER_VLLM_LIBRARY_PATH"  # LD_LIBRARY_PATH as it was before Triton's own was set
CHECKPOINT = "checkpoint"  # in the engine's directory
SETTINGS, CACHE = "vllm.json", "cache"  # there, and in the host's folder
FLASHINFER, KERNELS = "flashinfer", "kernels"  # in the cache: FlashInfer's workspace, and what it compiled there
BYTECODE = "bytecode"  # in the engine's directory, where vLLM's packages have none
MODEL, SOCKET = "model", "engine.sock"  # in the host's folder
SOURCE = ("kinds/vllm/runtime", "launch/frames.py", "framing.py", "json_text.py")  # what the host needs of Stoker
DRAFT = "draft"  # in both: the model that guesses tokens, if any
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "GLIBC_TUNABLES", "LD_LIBRARY_PATH")
_CONNECT_EVERY = 0.05


@dataclass(frozen=True)
class Launch:
    """vLLM's EngineArgs by name, without the model, and variables of its environment. An engine's directory has one in
    SETTINGS with what the plan does not say. `quantized`: the checkpoint was before the build."""

    engine: Mapping[str, object]
    environment: Mapping[str, str] = field(default_factory=dict)
    quantized: bool = False

    @staticmethod
    def read(path: Path) -> Launch:
        return Launch(**parse_json(path.read_text()))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1))


def package_folders() -> tuple[str, ...]:
    """Where that interpreter's packages are, found without running it. BuildError where there is none."""
    try:
        python = Path(shutil.which(interpreter()) or "")
    except EngineError as error:
        raise BuildError(error.what, why=error.why, remedy=error.remedy) from error
    if str(python) == sys.executable:
        return tuple(sys.path)
    return packages_of(python)


def interpreter() -> str:
    """That of the environment which has vLLM: STOKER_VLLM_PYTHON, or this one. EngineError if there is none."""
    named = os.environ.get(PYTHON)
    if named and shutil.which(named):
        return named
    found = importlib.util.find_spec("vllm")
    if found is not None and found.origin is not None:  # a folder of that name is no package
        return sys.executable
    why = f"{PYTHON} is {named}, which cannot be run" if named else f"{PYTHON} is not set"
    raise EngineError("there is no Python with vLLM", why=why, remedy=f"install vllm and set {PYTHON} to its Python")


def prepare(folder: Path, checkpoint: Path, cache: Path | None, launch: Launch) -> None:
    """Fills an empty folder for one host. `cache`: what an earlier one left in its folder's CACHE."""
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / MODEL).symlink_to(checkpoint.absolute())
    if (draft := checkpoint.parent / DRAFT).exists():
        (folder / DRAFT).symlink_to(draft.absolute())
    if cache is not None and cache.exists():
        shutil.copytree(cache, folder / CACHE)
    link_source(folder / "python", *SOURCE)
    content = {
        "socket": SOCKET,
        "engine": {**launch.engine, "model": MODEL},
        "environment": {**cache_environment(folder), **launch.environment},
    }
    (folder / SETTINGS).write_text(json.dumps(content, indent=1))


def cache_environment(folder: Path) -> dict[str, str]:
    """What is part of vLLM's hash is relative; what others may look up from another folder is not."""
    absolute = folder.absolute() / CACHE
    return {
        "VLLM_CACHE_ROOT": f"{CACHE}/vllm",
        "VLLM_CONFIG_ROOT": f"{CACHE}/config",
        "VLLM_ASSETS_CACHE": f"{CACHE}/assets",
        "VLLM_XLA_CACHE_PATH": f"{CACHE}/xla",
        "TORCHINDUCTOR_CACHE_DIR": str(absolute / "inductor"),
        "TRITON_CACHE_DIR": str(absolute / "triton"),
        "FLASHINFER_WORKSPACE_BASE": str(absolute / FLASHINFER),
    }


def environment(folder: Path) -> dict[str, str]:
    """This process's, without what belongs to Triton's stub."""
    kept = {name: value for name, value in child_environment().items() if name not in _NOT_INHERITED}
    if libraries := os.environ.get(LIBRARY_PATH):
        kept["LD_LIBRARY_PATH"] = libraries
    path = (folder.absolute() / "python", *kernel_path(folder / CACHE / KERNELS, package_folders()))
    return {**kept, "PYTHONPATH": os.pathsep.join(map(str, path))}


def bytecode_environment(bytecode: Path, *, write: bool) -> dict[str, str]:
    """Where Python finds compiled modules, or puts them, if vLLM's packages are installed without: an image is smaller
    so, but thousands of modules would be compiled in each of vLLM's processes at every start."""
    if any((Path(folder) / "vllm" / "__pycache__").exists() for folder in package_folders()):
        return {}
    prefix = {"PYTHONPYCACHEPREFIX": str(bytecode.absolute())}
    return prefix if write else {**prefix, "PYTHONDONTWRITEBYTECODE": "1"}


class HostProcess:
    """A running host with all that is below it; it ends with this object's process, or by `stop`."""

    def __init__(self, folder: Path, python: str, more: Mapping[str, str], devices: Sequence[str] = ()) -> None:
        """`folder` as `prepare` left it. `more` is added to the environment. `devices`: UUIDs of the GPUs to use, if
        not those of this process."""
        visible = {"CUDA_VISIBLE_DEVICES": ",".join(devices)} if devices else {}
        self._folder = folder
        self._guard = subprocess.Popen(
            [python, "-m", guard.__name__, SETTINGS],
            stdin=subprocess.PIPE,
            start_new_session=True,  # a signal to the server's group must not stop the guard from tidying up
            cwd=folder,
            env={**environment(folder), **more, **visible},
        )

    @property
    def pid(self) -> int:
        return self._guard.pid

    def connect(self) -> tuple[Link, dict[str, object]]:
        """Waits until the engine is loaded. EngineError if it cannot be; its code says whether for lack of memory."""
        connection = Link(self._connected())
        message = connection.receive()
        if message is not None and message[0] == link.READY:
            return connection, message[1]
        connection.close()
        code, text = message[1:3] if message is not None else (link.BROKEN, f"it ended with {self.wait()}")
        raise load_error(code, text)

    def _connected(self) -> socket.socket:
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connect(connection, self._folder / SOCKET)
            except OSError:
                connection.close()
            else:
                return connection
            if (code := self._guard.poll()) is not None:
                raise load_error(link.BROKEN, f"it ended with code {code}")
            time.sleep(_CONNECT_EVERY)

    def wait(self) -> int:
        return self._guard.wait()

    def stop(self) -> int:
        """Returns when nothing is left of it: its exit code."""
        with contextlib.suppress(OSError):
            assert self._guard.stdin is not None
            self._guard.stdin.close()
        return self._guard.wait()


def connect(connection: socket.socket, path: Path) -> None:
    """A Unix socket's address has 107 bytes at most, whatever its folder is called."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        connection.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def load_error(code: str, text: str) -> EngineError:
    if code == link.OUT_OF_MEMORY:
        return EngineMemoryError(NO_ROOM, why=text, remedy="choose a smaller --max-seq-len or --max-batch-size")
    return EngineError("vLLM cannot load the engine", why=text)
