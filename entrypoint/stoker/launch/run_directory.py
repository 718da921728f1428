"""A private directory for one run of the server: its backends, model repository, settings, pid and pulse files."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import signal
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import StorageError
from stoker.launch.settings import PULSE_FILE, STUB_PID_FILE
from stoker.launch.shared_memory import owner_prefix, stale


def _parent() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(runtime if runtime and os.access(runtime, os.W_OK) else tempfile.gettempdir())


def remove_stale_run_directories() -> None:
    """Removes those of processes that were killed before they could, and ends what still runs from them.

    A stub ends with its server by itself, unless it waits for an answer of the dead server with the interpreter's lock
    held, which no thread of its own can notice.
    """
    for directory in stale(_parent()):
        _kill_stub(directory)
        shutil.rmtree(directory, ignore_errors=True)


def _kill_stub(directory: Path) -> None:
    """By the pid that it wrote, if that process works in this directory: pids are used again."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((directory / STUB_PID_FILE).read_text())
        if Path(f"/proc/{pid}/cwd").samefile(directory):
            os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class RunDirectory:
    path: Path

    @property
    def backends(self) -> Path:
        return self.path / "backends"

    @property
    def repository(self) -> Path:
        return self.path / "models"

    def pulse(self) -> int:
        """Engine steps so far; 0 before the model has begun to load."""
        try:
            with (
                (self.path / PULSE_FILE).open("rb") as file,
                mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ) as shared,
            ):
                return int(struct.unpack_from("<Q", shared)[0])
        except (FileNotFoundError, ValueError):
            return 0

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def make_run_directory() -> RunDirectory:
    """Under XDG_RUNTIME_DIR if that is usable, else under the temporary directory; mode 0700."""
    try:
        return RunDirectory(Path(tempfile.mkdtemp(prefix=owner_prefix(), dir=_parent())))
    except OSError as error:
        raise _nowhere(error) from error


def temporary_run_directory() -> tempfile.TemporaryDirectory[str]:
    """One that is removed with its owner: what this process leaves when it is killed, the next one removes."""
    remove_stale_run_directories()
    try:
        return tempfile.TemporaryDirectory(prefix=owner_prefix(), dir=_parent())
    except OSError as error:
        raise _nowhere(error) from error


def _nowhere(error: OSError) -> StorageError:
    return StorageError("no directory to run in", why=str(error), remedy="make TMPDIR writable")
