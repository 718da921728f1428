"""Responses that are kept, so that a later request may go on from them. Off unless it is asked for."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

logger = logging.getLogger(__name__)

MOST_IN_MEMORY, MOST_ON_DISK = 256 << 20, 1 << 30  # bytes
MOST_RESPONSES = 50_000
KEPT_SECONDS = 30 * 24 * 3600  # as OpenAI keeps them
_LONGEST_WAIT_SECONDS = 24 * 3600.0
_ID = re.compile(r"resp_[0-9a-f]{32}")


@dataclass(frozen=True)
class Bounds:
    """What a store holds at most; the oldest go first."""

    bytes: int
    count: int
    seconds: float


class Kept(msgspec.Struct, frozen=True):
    """`items`: the whole conversation, up to and with this response's output. `owner`: the client whose it is."""

    owner: str
    response: dict[str, Any]
    items: list[dict[str, Any]]


class ResponseStore(Protocol):
    def put(self, kept: Kept) -> None: ...

    async def find(self, id_: str, owner: str) -> Kept | None:
        """None also for another client's."""
        ...

    def delete(self, id_: str, owner: str) -> bool: ...


class _Ages:
    """How old and how large what is kept is, oldest first; times in seconds since 1970."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._kept: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self.bytes = 0

    def add(self, id_: str, made: float, size: int) -> None:
        self.discard(id_)
        self._kept[id_] = made, size
        self.bytes += size

    def discard(self, id_: str) -> None:
        self.bytes -= self._kept.pop(id_, (0.0, 0))[1]

    def overdue(self, now: float) -> Iterator[str]:
        """What has to go, and is no longer counted."""
        while self._kept:
            id_, (made, _) = next(iter(self._kept.items()))
            full = self.bytes > self._bounds.bytes or len(self._kept) > self._bounds.count
            if not full and now - made <= self._bounds.seconds:
                return
            self.discard(id_)
            yield id_

    def next_expiry(self) -> float | None:
        made = next(iter(self._kept.values()), None)
        return None if made is None else made[0] + self._bounds.seconds


class _BoundedStore(ABC):
    """What is too old goes when its time has come, whether or not anything is asked of the store."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._ages = _Ages(bounds)
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None

    @abstractmethod
    def _write(self, id_: str, document: bytes) -> None: ...

    @abstractmethod
    def _read(self, id_: str) -> bytes | None: ...

    @abstractmethod
    def _remove(self, id_: str) -> None: ...

    def put(self, kept: Kept) -> None:
        """What cannot be stored is logged: the answer itself is not lost by it."""
        document, id_ = msgspec.json.encode(kept), kept.response["id"]
        if len(document) > self._bounds.bytes:
            logger.error("a response of %d bytes is too large to be stored", len(document))
            return
        with self._lock:
            try:
                self._write(id_, document)
            except OSError as error:
                logger.error("a response could not be stored: %s", error)
                return
            self._ages.add(id_, time.time(), len(document))
            self.expire()

    async def find(self, id_: str, owner: str) -> Kept | None:
        return self.get(id_, owner)

    def get(self, id_: str, owner: str) -> Kept | None:
        with self._lock:
            self.expire()
            document = self._read(id_)
            if document is None:
                return None
            try:
                kept = msgspec.json.decode(document, type=Kept)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                return None
            return kept if kept.owner == owner else None

    def delete(self, id_: str, owner: str) -> bool:
        with self._lock:
            if self.get(id_, owner) is None:
                return False
            self._remove(id_)
            self._ages.discard(id_)
            return True

    def expire(self) -> None:
        """Removes what is too old or too much, and comes back when the next one is."""
        with self._lock:
            for id_ in self._ages.overdue(time.time()):
                self._remove(id_)
            due = self._ages.next_expiry()
            if due is not None and self._timer is None:
                seconds = min(max(due - time.time(), 0.05), _LONGEST_WAIT_SECONDS)
                self._timer = threading.Timer(seconds, self._on_time)
                self._timer.daemon = True
                self._timer.start()

    def _on_time(self) -> None:
        self._timer = None
        self.expire()


class MemoryStore(_BoundedStore):
    def __init__(
        self, most_bytes: int = MOST_IN_MEMORY, most: int = MOST_RESPONSES, kept_seconds: float = KEPT_SECONDS
    ) -> None:
        super().__init__(Bounds(most_bytes, most, kept_seconds))
        self._documents: dict[str, bytes] = {}

    def _write(self, id_: str, document: bytes) -> None:
        self._documents[id_] = document

    def _read(self, id_: str) -> bytes | None:
        return self._documents.get(id_)

    def _remove(self, id_: str) -> None:
        self._documents.pop(id_, None)


class DirectoryStore(_BoundedStore):
    """A file each, readable by its owner alone."""

    def __init__(
        self,
        directory: Path,
        kept_seconds: float = KEPT_SECONDS,
        most_bytes: int = MOST_ON_DISK,
        most: int = MOST_RESPONSES,
    ) -> None:
        super().__init__(Bounds(most_bytes, most, kept_seconds))
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in directory.glob("resp_*.new"):  # of a server that ended while it wrote
            path.unlink(missing_ok=True)
        for made, size, id_ in sorted(self._found()):
            self._ages.add(id_, made, size)
        self.expire()

    def _found(self) -> Iterator[tuple[float, int, str]]:
        for path in self._directory.glob("resp_*.json"):
            with contextlib.suppress(OSError):
                status = path.stat()
                yield status.st_mtime, status.st_size, path.stem

    def _path(self, id_: str) -> Path:
        return self._directory / f"{id_}.json"

    def _write(self, id_: str, document: bytes) -> None:
        new = self._path(id_).with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(document)
        new.replace(self._path(id_))

    def _read(self, id_: str) -> bytes | None:
        """Another server may share the directory: what it keeps is read too, for as long as it may be kept."""
        if not _ID.fullmatch(id_):
            return None
        path = self._path(id_)
        try:
            if time.time() - path.stat().st_mtime > self._bounds.seconds:
                self._remove(id_)
                return None
            return path.read_bytes()
        except OSError:
            return None

    def _remove(self, id_: str) -> None:
        with contextlib.suppress(OSError):
            self._path(id_).unlink(missing_ok=True)


def store_of(setting: str | None) -> ResponseStore | None:
    """`memory`, a directory, or nothing for none. OSError for a directory that cannot be made."""
    if not setting or setting == "off":
        return None
    return MemoryStore() if setting == "memory" else DirectoryStore(Path(os.path.expanduser(setting)))  # noqa: PTH111 (`~` may be nobody's)
