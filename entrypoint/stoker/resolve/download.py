"""Fetches files of the hub into the cache: several at once, each from where it was left, each checked."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from stoker.errors import CacheError, DamagedModelError, HubUnreachableError, StokerError, StorageError
from stoker.progress import Progress
from stoker.resolve.byte_count import ByteCount
from stoker.resolve.hub_cache import RepositoryCache
from stoker.resolve.partial_file import PartialFile, RemoteFile

WORKERS = 8
# Seconds before each new attempt; attempts that brought bytes do not count.
PAUSES: tuple[float, ...] = (1, 2, 4, 8)
_LOCK_POLL_SECONDS = 0.5


class Source(Protocol):
    def open(self, file: RemoteFile, start: int) -> AbstractContextManager[tuple[int, Iterable[bytes]]]:
        """Yields the offset that the bytes really begin at (0 where ranges are ignored), and the bytes.

        Raises HubUnreachableError where a later attempt may succeed.
        """


class InterruptedDownloadError(Exception):
    """Another file failed, so this one is left as it is."""


class Download:
    """One set of files of one commit."""

    def __init__(self, cache: RepositoryCache, source: Source, progress: Progress) -> None:
        self._cache = cache
        self._source = source
        self._progress = progress
        self._stop = threading.Event()
        self._count = ByteCount(progress, 0)
        self._arrived: list[RemoteFile] = []

    def fetch(self, files: Iterable[RemoteFile], commit: str) -> list[RemoteFile]:
        """Brings the missing files into the commit's snapshot; returns those that came over the network, checked.

        Raises StorageError where they do not fit, DamagedModelError, OSError or what the source raises.
        """
        missing = [file for file in files if not (self._cache.snapshot(commit) / file.name).exists()]
        if missing:
            self._check_space(missing)
            self._count = ByteCount(self._progress, sum(file.size for file in missing))
            self._fetch_parallel(missing, commit)
        return self._arrived

    def _check_space(self, missing: list[RemoteFile]) -> None:
        self._cache.folder.mkdir(parents=True, exist_ok=True)
        needed = sum(file.size - _size(self._cache.partial(file.etag)) for file in missing)
        free = shutil.disk_usage(self._cache.folder).free
        if needed > free:
            raise StorageError(
                f"{self._cache.repository} does not fit on the disk of {self._cache.root}",
                why=f"{needed / 1e9:.1f} GB are still to be fetched and {free / 1e9:.1f} GB are free",
                remedy="make room, or name a larger disk with --cache",
            )

    def _fetch_parallel(self, missing: list[RemoteFile], commit: str) -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            futures = [pool.submit(self._fetch, file, commit) for file in missing]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
        errors = [future.exception() for future in done if future.exception() is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, InterruptedDownloadError)):
            if error is not None:
                raise error

    def _fetch(self, file: RemoteFile, commit: str) -> None:
        attempts = 0
        while not self._fetch_if_free(file, commit):
            attempts += 1
            if attempts == 2:  # once may be a file of the same contents in this very download
                self._progress.note(f"another process is downloading {file.name}; waiting for it")
            self._pause(_LOCK_POLL_SECONDS)

    def _fetch_if_free(self, file: RemoteFile, commit: str) -> bool:
        with self._cache.locked(file.etag) as free:
            if free and self._cache.blob(file.etag).exists():
                self._count.add(file.size)
            elif free:
                self._fetch_blob(file)
            if free:
                self._cache.link(file.etag, commit, file.name)
            return free

    def _fetch_blob(self, file: RemoteFile) -> None:
        with PartialFile(self._cache.partial(file.etag), file) as partial:
            self._count.add(partial.size)
            try:
                self._append_with_retries(partial)
                partial.finish(self._cache.blob(file.etag))
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    partial.forget()
                raise
        self._arrived.append(file)

    def _append_with_retries(self, partial: PartialFile) -> None:
        failures = 0
        while (before := partial.size) < partial.file.size:
            try:
                self._append(partial)
                if partial.size == before:
                    raise HubUnreachableError(f"the hub sends nothing of {partial.file.name}", remedy="try again later")
            except HubUnreachableError:
                failures = 0 if partial.size > before else failures + 1
                if failures > len(PAUSES):
                    raise
                self._pause(PAUSES[max(0, failures - 1)])

    def _append(self, partial: PartialFile) -> None:
        with self._source.open(partial.file, partial.size) as (start, chunks):
            if start != partial.size:
                self._count.add(-partial.size)
                partial.restart()
            for chunk in chunks:
                if self._stop.is_set():
                    raise InterruptedDownloadError
                if partial.size + len(chunk) > partial.file.size:
                    partial.forget()
                    raise _too_much(partial.file)
                partial.append(chunk)
                self._count.add(len(chunk))

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise InterruptedDownloadError


def _too_much(file: RemoteFile) -> DamagedModelError:
    return DamagedModelError(
        f"{file.name} arrived damaged",
        why=f"the hub sends more than the {file.size:,} bytes that it promised",
        remedy="try again: it will be fetched from its start",
    )


def storage_error(error: OSError, root: Path) -> StokerError:
    """CacheError where writing is forbidden, else StorageError."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return CacheError(f"the cache {root} is not writable", why=str(error), remedy="name another with --cache")
    return StorageError(
        f"the model could not be stored in {root}", why=str(error), remedy="check the disk and its space"
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
