"""An engine's files from a remote: in parallel parts that outlive an interruption, checked when whole."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import StoppedError
from stoker.progress import Progress
from stoker.resolve.byte_count import ByteCount
from stoker.store.engine import EngineFile
from stoker.store.manifest import JOURNAL, file_digest
from stoker.store.remotes.remote import OFFER_SECONDS, Remote, RemoteError, TransientError

_PART_BYTES = 16 << 20
_WORKERS = 8
_WATCH_SECONDS = 0.25


@dataclass(frozen=True)
class Patience:
    """Fewer than `bytes` within `seconds`, and the remote counts as too slow; `pauses` come before further attempts.
    `offer`: seconds for all that comes before the files."""

    seconds: float = 20.0
    bytes: int = 2 << 20
    pauses: tuple[float, ...] = (0.5, 2.0)
    offer: float = OFFER_SECONDS


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
        self._changed = threading.Condition()
        self._waiting: deque[_Part] = deque()
        self._failures: list[Exception] = []
        self._left = 0
        self._arrived = 0

    def run(self, files: Iterable[EngineFile]) -> None:
        """Every file whole and checked. RemoteError for what the remote lacks, damages or is too slow for; OSError for
        this machine's disk; StoppedError once cancelled. What has arrived is kept, except damaged files."""
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
        """By threads that are left to themselves where they wait for a remote when the transfer ends: they write
        nothing from then on, and do not keep the process."""
        self._waiting.extend(parts)
        self._left = len(parts)
        for number in range(min(_WORKERS, len(parts))):
            threading.Thread(target=self._work, args=(count,), name=f"transfer {number}", daemon=True).start()
        try:
            self._watch()
        finally:
            with self._lock:  # no write is under way from here on
                self._stop.set()

    def _work(self, count: ByteCount) -> None:
        while not self._stop.is_set():
            try:
                part = self._waiting.popleft()
            except IndexError:
                return
            try:
                self._fetch(part, count)
            except Exception as error:  # a remote's library may raise anything over what it is sent
                self._failures.append(error)
            with self._changed:
                self._left -= 1
                self._changed.notify()

    def _watch(self) -> None:
        """Until all are done; raises the first failure."""
        began, before = time.monotonic(), self._arrived
        while self._left:
            with self._changed:
                self._changed.wait(_WATCH_SECONDS)
            if self._failures:
                break
            if self._cancel.is_set():
                raise StoppedError("stopped while fetching the engine", remedy="the next start resumes there")
            if time.monotonic() - began >= self._patience.seconds:
                if self._arrived - before < self._patience.bytes:
                    raise RemoteError(f"{self._arrived - before} bytes in {self._patience.seconds:g} s are too slow")
                began, before = time.monotonic(), self._arrived
        if self._failures:
            raise _as_remote_error(self._failures[0])

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
                    offset += self._write(descriptor, piece[: part.end - offset], offset, count)
                    if offset == part.end:  # whatever else it sends
                        return
                raise TransientError(f"{part.file.path} ended {part.end - offset} bytes early")
            except BaseException:
                count.add(part.start - offset)
                raise

    def _write(self, descriptor: int, piece: bytes, offset: int, count: ByteCount) -> int:
        with self._lock:
            if self._stop.is_set():
                raise RemoteError("the transfer has ended")
            written = os.pwrite(descriptor, piece, offset)
            self._arrived += written
        count.add(written)
        return written

    @contextmanager
    def _written(self, part: _Part) -> Iterator[int]:
        descriptor = os.open(self._directory / part.file.path, os.O_WRONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _note(self, part: _Part) -> None:
        with self._lock:
            if not self._stop.is_set():
                with (self._directory / JOURNAL).open("a") as journal:
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


def _as_remote_error(error: Exception) -> Exception:
    """OSErrors are this machine's disk: remotes' own are RemoteErrors already."""
    if isinstance(error, RemoteError | OSError):
        return error
    return RemoteError(f"its answer makes no sense ({type(error).__name__}: {str(error)[:200]})")


def _parts(file: EngineFile) -> list[_Part]:
    return [_Part(file, at, min(at + _PART_BYTES, file.size)) for at in range(0, file.size, _PART_BYTES)]
