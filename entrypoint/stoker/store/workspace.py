"""Where engines are made: a directory of `tmp/`, named after its owner and touched while that lives."""

from __future__ import annotations

import errno
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stoker.errors import StorageError
from stoker.store.heartbeat import Heartbeat, is_alive, touch
from stoker.store.lease import Lease, living_leases
from stoker.store.owner import owner_in, this_process

FORBIDDEN = 0o027  # a file of the store is 0640 or stricter


@contextmanager
def workspace_in(tmp: Path, lease: Lease | None = None) -> Iterator[Path]:
    """An empty directory on the store's own file system; removed with all that was not published."""
    try:
        with owned_directory(tmp, "build") as workspace:
            (workspace / "engine").mkdir()
            if lease is not None:
                lease.workspace = workspace.name
            yield workspace / "engine"
    except OSError as error:
        raise storage_error(error, tmp.parent) from error


@contextmanager
def owned_directory(tmp: Path, name: str) -> Iterator[Path]:
    """An empty directory that is removed in the end; if this process is killed, whoever sweeps next removes it."""
    sweep(tmp)
    directory = Path(tempfile.mkdtemp(dir=tmp, prefix=f"{name}-{this_process()}-"))
    try:
        with Heartbeat(lambda: touch(directory)):
            yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def sweep(tmp: Path) -> None:
    """Removes what the dead have left."""
    for leftover in tmp.iterdir():
        if leftover.is_dir() and not is_alive(leftover, owner_in(leftover.name)):
            shutil.rmtree(leftover, ignore_errors=True)


def write_whole(path: Path, text: str, tmp: Path) -> None:
    """A file of the cache, whole or not at all; what a kill leaves in `tmp` is swept with the rest of it."""
    with tempfile.TemporaryDirectory(dir=tmp, prefix=f"{path.stem}-{this_process()}-") as folder:
        file = Path(folder) / path.name
        file.write_text(text)
        file.replace(path)


def reserve(locks: Path, tmp: Path, lease: Lease, needed: int) -> None:
    """Reserves `needed` bytes of the disk. StorageError where they are not free, or others have reserved them."""
    free = shutil.disk_usage(tmp).free - sum(_outstanding(tmp, document) for _, document in _others(locks, lease))
    if needed > free:
        raise StorageError(
            f"the engine does not fit on the disk of {tmp.parent}",
            why=f"it needs {needed / 1e9:.2f} GB and {max(0, free) / 1e9:.2f} GB are free and unreserved",
            remedy="make room with `stoker engines prune`, or name a larger disk with --cache",
        )
    lease.reserved = needed
    lease.write()


def _others(locks: Path, lease: Lease) -> Iterator[tuple[Path, dict[str, object]]]:
    return ((path, document) for path, document in living_leases(locks) if path != lease.path)


def _outstanding(tmp: Path, document: dict[str, object]) -> int:
    """What a lease has reserved and not yet written."""
    workspace = str(document.get("workspace", ""))
    return max(0, int(str(document.get("reserved", 0))) - (size_of(tmp / workspace) if workspace else 0))


def size_of(directory: Path) -> int:
    """Bytes on the disk of all files below; what vanishes meanwhile counts nothing."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_blocks * 512 if path.is_file() else 0
        except OSError:
            continue
    return total


def tighten(directory: Path) -> None:
    """Takes from other users what they may do with what is in it, and from the group that it may write. A file that is
    the model's too, by a hard link, keeps its mode."""
    for path in (directory, *directory.rglob("*")):
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink == 1):
            path.chmod(stat.S_IMODE(status.st_mode) & ~FORBIDDEN)


def storage_error(error: OSError, cache: Path) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            "the disk is full",
            why=f"the engine in {cache} needs more space",
            remedy="make room with `stoker engines prune`, or name a cache on another disk with --cache",
        )
    return StorageError(f"input or output failed in {cache}", why=str(error), remedy="check the disk and try again")
