"""An engine's files from a remote: in parallel parts that outlive an interruption, checked when whole."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import StoppedError
from stoker.progress import Progress
from stoker.resolve.byte_count import ByteCount
from stoker.store.engine import EngineFile
from stoker.store.manifest import file_digest
from stoker.store.remotes.remote import Remote, RemoteError, TransientError

JOURNAL = ".parts"
_PART_BYTES = 16 << 20
_WORKERS = 8
_WATCH_SECONDS = 0.25


@dataclass(frozen=True)
class Patience:
    """Fewer than `bytes` within `seconds`, and the remote counts as too slow; `pauses` come before further attempts."""

    seconds: float = 20.0
    bytes: int = 2 << 20
    pauses: tuple[float, ...] = (0.5, 2.0)


@dataclass(frozen=True)
class _Part:
    file: EngineFile
    start: int
    end: int

    @property
    def name(self) -> str:
        """A line of the journal: the contents it belongs to, so that a changed engine never resumes an older one."""
        return f"{self.file.sha256} {self.file.path} {self.start}"


class Transfer:
    """One engine from one remote into `directory`, which may hold what an earlier attempt brought."""

    def __init__(
        self,
        remote: Remote,
        key: str,
        directory: Path,
        progress: Progress,
        cancel: threading.Event,
        patience: Patience | None = None,
    ) -> None:
        self._remote = remote
        self._key = key
        self._directory = directory
        self._progress = progress
        self._cancel = cancel
        self._patience = patience or Patience()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._arrived = 0

    def run(self, files: Iterable[EngineFile]) -> None:
        """Every file whole and checked. RemoteError for what the remote lacks, damages or is too slow for; OSError for
        this machine's disk; StoppedError once cancelled. What has arrived is kept, but for damaged files."""
        listed = tuple(files)
        done = self._journal()
        parts = [part for file in listed for part in _parts(file)]
        count = ByteCount(self._progress, sum(file.size for file in listed))
        count.add(sum(part.end - part.start for part in parts if part.name in done))
        for file in listed:
            self._prepare(file)
        self._fetch_all([part for part in parts if part.name not in done], count)
        self._check(listed)
        (self._directory / JOURNAL).unlink(missing_ok=True)

    def _journal(self) -> frozenset[str]:
        self._directory.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return frozenset((self._directory / JOURNAL).read_text().splitlines())
        return frozenset()

    def _prepare(self, file: EngineFile) -> None:
        path = self._directory / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            os.truncate(path, file.size)

    def _fetch_all(self, parts: list[_Part], count: ByteCount) -> None:
        with ThreadPoolExecutor(_WORKERS) as pool:
            futures = [pool.submit(self._fetch, part, count) for part in parts]
            try:
                self._watch(futures)
            finally:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)

    def _watch(self, futures: list[Future[None]]) -> None:
        """Until all are done; raises the first failure."""
        began, before = time.monotonic(), self._arrived
        while True:
            done, pending = wait(futures, timeout=_WATCH_SECONDS, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            if not pending:
                return
            if self._cancel.is_set():
                raise StoppedError("stopped while fetching the engine", remedy="the next start goes on from there")
            if time.monotonic() - began >= self._patience.seconds:
                if self._arrived - before < self._patience.bytes:
                    raise RemoteError(f"{self._arrived - before} bytes in {self._patience.seconds:g} s are too slow")
                began, before = time.monotonic(), self._arrived

    def _fetch(self, part: _Part, count: ByteCount) -> None:
        for pause in (*self._patience.pauses, None):
            try:
                self._fetch_once(part, count)
            except TransientError:
                if pause is None or self._stop.wait(pause):
                    raise
            else:
                self._note(part)
                return

    def _fetch_once(self, part: _Part, count: ByteCount) -> None:
        with self._written(part) as descriptor, self._remote.open(self._key, part.file, part.start, part.end) as pieces:
            offset = part.start
            try:
                for piece in pieces:
                    if self._stop.is_set():
                        raise RemoteError("another part failed")
                    written = os.pwrite(descriptor, piece[: part.end - offset], offset)
                    offset += written
                    self._count(written, count)
            except BaseException:
                count.add(part.start - offset)
                raise
            if offset != part.end:
                count.add(part.start - offset)
                raise TransientError(f"{part.file.path} ended {part.end - offset} bytes early")

    @contextmanager
    def _written(self, part: _Part) -> Iterator[int]:
        descriptor = os.open(self._directory / part.file.path, os.O_WRONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _count(self, arrived: int, count: ByteCount) -> None:
        with self._lock:
            self._arrived += arrived
        count.add(arrived)

    def _note(self, part: _Part) -> None:
        with self._lock, (self._directory / JOURNAL).open("a") as journal:
            journal.write(f"{part.name}\n")

    def _check(self, files: tuple[EngineFile, ...]) -> None:
        """A damaged file is forgotten, so that the next attempt fetches it anew."""
        with ThreadPoolExecutor(_WORKERS) as pool:
            digests = pool.map(lambda file: file_digest(self._directory / file.path), files)
            damaged = [file for file, digest in zip(files, digests, strict=True) if digest != file.sha256]
        if not damaged:
            return
        bad = {part.name for file in damaged for part in _parts(file)}
        (self._directory / JOURNAL).write_text("".join(f"{name}\n" for name in self._journal() - bad))
        raise RemoteError(f"its {damaged[0].path} is damaged: the SHA-256 is not that of engine.json")


def _parts(file: EngineFile) -> list[_Part]:
    return [_Part(file, at, min(at + _PART_BYTES, file.size)) for at in range(0, file.size, _PART_BYTES)]
