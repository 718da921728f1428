"""The content-addressed store: `engines/<key>/`, made in `tmp/` and renamed into place.

A build that dies leaves only a directory in `tmp/`, which no start takes for an engine and the next one removes.
Any number of processes, containers and nodes may share one: see lease.py, use.py and heartbeat.py.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from stoker.errors import CacheError
from stoker.probe.checks.storage import may_be_given
from stoker.progress import Progress, Silent
from stoker.store.engine import Engine, Manifest
from stoker.store.heartbeat import touch
from stoker.store.lease import Lease, leased
from stoker.store.manifest import UnusableEngineError, check_sizes, describe_files, read_manifest, write_manifest
from stoker.store.owner import this_process
from stoker.store.trust import Provenance, forget, record
from stoker.store.use import is_used, mark_used, sweep_locks, unmark
from stoker.store.workspace import reserve, sweep, tighten, workspace_in

_KEPT_IN_QUARANTINE = 2


class Store:
    """The engines under one cache directory.

    One that cannot be written, such as a volume that is mounted read-only, still gives the engines that it holds; what
    would change it raises CacheError. Without any engines in it, CacheError at once.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.engines = cache / "engines"
        self.locks = cache / "locks"
        self.tmp = cache / "tmp"
        self.quarantined = cache / "quarantine"
        self.partial = cache / "partial"
        self._fault: CacheError | None = None
        try:
            for directory in (self.engines, self.locks, self.tmp):
                _make_directory(directory)
        except CacheError as error:
            if not _holds_something(self.engines):
                raise
            self._fault = error

    @property
    def writable(self) -> bool:
        return self._fault is None

    def _check_writable(self) -> None:
        if self._fault is not None:
            raise self._fault

    def find(self, key: str) -> Engine | None:
        """The finished engine of that key, or None; raises UnusableEngineError where there is one but damaged."""
        directory = self.engines / key
        if not directory.is_dir():
            return None
        try:
            manifest = read_manifest(directory)
            if manifest.key != key:
                raise UnusableEngineError(f"{directory.name}/engine.json is that of {manifest.key}")
            check_sizes(directory, manifest)
        except UnusableEngineError:
            if directory.is_dir():
                raise
            return None  # it went while it was looked at
        return Engine(directory, manifest)

    def list(self) -> tuple[tuple[str, Engine | UnusableEngineError], ...]:
        """Every engine by key; what cannot be used appears with what is wrong with it."""
        keys = sorted(path.name for path in self.engines.iterdir() if path.is_dir())
        return tuple((key, self._find_or_fault(key)) for key in keys)

    def use(self, key: str) -> None:
        """Keeps the engine from eviction until this process ends, and notes the time for LRU; if that can be noted."""
        if not self.writable:
            return
        mark_used(self.locks, key)
        with contextlib.suppress(OSError):
            touch(self.engines / key)

    def release(self, key: str) -> None:
        unmark(self.locks, key)

    def sweep(self) -> None:
        """Removes what processes that were killed have left in locks/ and tmp/."""
        if not self.writable:
            return
        sweep_locks(self.locks)
        sweep(self.tmp)

    def is_used(self, key: str) -> bool:
        """By this process or any other."""
        return self.writable and is_used(self.locks, key)

    def discard(self, key: str) -> bool:
        """Deletes an engine, moving it out of the way first so that no reader sees half of it.

        False, and it stays, where someone has begun to use it meanwhile.
        """
        self._check_writable()
        grave = Path(tempfile.mkdtemp(dir=self.tmp, prefix=f"discarded-{this_process()}-"))
        try:
            (self.engines / key).rename(grave / key)
            if self.is_used(key):
                (grave / key).rename(self.engines / key)
                return False
            forget(self.cache, key)
            return True
        except FileNotFoundError:
            return True
        finally:
            shutil.rmtree(grave, ignore_errors=True)

    def quarantine(self, key: str) -> Path:
        """Moves a damaged engine where no start looks and a person can; the last few are kept."""
        self._check_writable()
        self.quarantined.mkdir(exist_ok=True)
        target = self.quarantined / f"{key}.{time.time_ns()}"
        with contextlib.suppress(FileNotFoundError):
            (self.engines / key).rename(target)
        oldest_first = sorted(self.quarantined.glob(f"{key}.*"), key=lambda path: path.name)
        for old in oldest_first[:-_KEPT_IN_QUARANTINE]:
            shutil.rmtree(old, ignore_errors=True)
        return target

    @contextmanager
    def lease(
        self, key: str, progress: Progress | None = None, cancel: threading.Event | None = None
    ) -> Iterator[Lease]:
        """One builder an engine: waits until no other living process has the key."""
        self._check_writable()
        with leased(self.locks, key, progress or Silent(), cancel) as lease:
            yield lease

    def reserve(self, lease: Lease, needed: int) -> None:
        reserve(self.locks, self.tmp, lease, needed)

    @contextmanager
    def workspace(self, lease: Lease | None = None) -> Iterator[Path]:
        with workspace_in(self.tmp, lease) as workspace:
            yield workspace

    def publish(self, workspace: Path, manifest: Manifest) -> Engine:
        """Turns a finished workspace into the engine of `manifest.key`; its files are listed and hashed here."""
        complete = replace(manifest, files=describe_files(workspace))
        write_manifest(workspace, complete)
        return self.adopt(workspace, complete, Provenance())

    def adopt(self, directory: Path, manifest: Manifest, provenance: Provenance) -> Engine:
        """Renames a whole and checked directory into place. If another process was quicker, its engine is the one."""
        target = self.engines / manifest.key
        tighten(directory)
        record(directory, provenance, manifest.key, self.cache)
        try:
            directory.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            shutil.rmtree(directory, ignore_errors=True)
        _sync_directory(self.engines)
        return Engine(target, read_manifest(target))

    def _find_or_fault(self, key: str) -> Engine | UnusableEngineError:
        try:
            engine = self.find(key)
        except UnusableEngineError as fault:
            return fault
        return engine or UnusableEngineError(f"{key} has just gone")


def _holds_something(directory: Path) -> bool:
    try:
        return any(directory.iterdir())
    except OSError:
        return False


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise _cannot_write(directory, error) from error


def _cannot_write(directory: Path, error: OSError) -> CacheError:
    """Says whose the directory is and how to change that: in a container it is most often a mounted one."""
    place = next(path for path in (directory, *directory.parents) if path.exists())
    status = place.stat()
    whose = f"{place} is owned by user {status.st_uid}, group {status.st_gid}, mode {stat.filemode(status.st_mode)}"
    user = f"{os.geteuid()}:{os.getegid()}"
    remedy = ""
    if error.errno == errno.EROFS:
        remedy = "mount it writable; or "
    elif may_be_given(place):
        remedy = f"give it to this process's user: chown -R {user} {place}, or in a container the host's directory "
        remedy += "behind it; or "
    why = f"{error.strerror or error}; {whose}, and this process is user {user}"
    return CacheError(
        f"cannot write to the cache directory {directory}", why=why, remedy=f"{remedy}name another with --cache"
    )


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
