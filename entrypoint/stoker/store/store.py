"""The content-addressed store: `engines/<key>/`, built in `tmp/` and renamed into place under a lock.

A build that dies leaves only a directory in `tmp/`, which no start takes for an engine and the next one removes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from stoker.errors import CacheError, StorageError
from stoker.store.engine import Engine, Manifest
from stoker.store.manifest import UnusableEngineError, check_sizes, describe_files, read_manifest, write_manifest


class Store:
    """The engines under one cache directory. Raises CacheError where that cannot be written."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.engines = cache / "engines"
        self._locks = cache / "locks"
        self._tmp = cache / "tmp"
        for directory in (self.engines, self._locks, self._tmp):
            _make_directory(directory)

    def find(self, key: str) -> Engine | None:
        """The finished engine of that key, or None; raises UnusableEngineError where there is one but damaged."""
        directory = self.engines / key
        if not directory.is_dir():
            return None
        manifest = read_manifest(directory)
        check_sizes(directory, manifest)
        return Engine(directory, manifest)

    def list(self) -> tuple[tuple[str, Engine | UnusableEngineError], ...]:
        """Every engine by key; what cannot be used appears with what is wrong with it."""
        keys = sorted(path.name for path in self.engines.iterdir() if path.is_dir())
        return tuple((key, self._find_or_fault(key)) for key in keys)

    def discard(self, key: str) -> None:
        """Moves a damaged engine out of the way before deleting it, so that no reader sees half of it."""
        grave = Path(tempfile.mkdtemp(dir=self._tmp, prefix="discarded-"))
        (self.engines / key).rename(grave / key)
        shutil.rmtree(grave, ignore_errors=True)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """One builder an engine: waits until no other process of this host holds the key."""
        with (self._locks / f"{key}.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """An empty directory to build in, on the store's own file system; removed with all that was not published."""
        with self.lock("tmp"):  # no other process may sweep between making the directory and locking it
            self._sweep()
            workspace = Path(tempfile.mkdtemp(dir=self._tmp, prefix="build-"))
            descriptor = os.open(workspace, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            (workspace / "engine").mkdir()
            yield workspace / "engine"
        except OSError as error:
            raise _storage_error(error, self.cache) from error
        finally:
            shutil.rmtree(workspace, ignore_errors=True)
            os.close(descriptor)

    def publish(self, workspace: Path, manifest: Manifest) -> Engine:
        """Turns a finished workspace into the engine of `manifest.key`; its files are listed and hashed here."""
        complete = replace(manifest, files=describe_files(workspace))
        write_manifest(workspace, complete)
        target = self.engines / manifest.key
        workspace.rename(target)
        _sync_directory(self.engines)
        return Engine(target, complete)

    def _find_or_fault(self, key: str) -> Engine | UnusableEngineError:
        try:
            engine = self.find(key)
        except UnusableEngineError as fault:
            return fault
        return engine or UnusableEngineError(f"{key} has just gone")

    def _sweep(self) -> None:
        """Removes what dead builds left: a living one holds a lock on its directory."""
        for leftover in self._tmp.iterdir():
            if leftover.is_dir() and _unlocked(leftover):
                shutil.rmtree(leftover, ignore_errors=True)


def _unlocked(directory: Path) -> bool:
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise CacheError(
            f"cannot write to the cache directory {directory}",
            why=error.strerror or str(error),
            remedy=f"make it writable for user {os.getuid()} (chown or chmod), or name another with --cache",
        ) from error


def _storage_error(error: OSError, cache: Path) -> StorageError:
    if error.errno == errno.ENOSPC:
        return StorageError(
            "the disk is full",
            why=f"building in {cache} needs more space",
            remedy="free some space, or name a cache on another disk with --cache",
        )
    return StorageError(f"input or output failed in {cache}", why=str(error), remedy="check the disk and try again")


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
