"""A file of the hub while it is being fetched: it survives an interruption and is checked when it is whole."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from stoker.errors import DamagedModelError
from stoker.resolve.digests import CHUNK_BYTES

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class RemoteFile:
    """`etag` is the hub's name of the contents: SHA-256 of a large file, git's blob SHA-1 of a small one."""

    name: str
    size: int
    etag: str


def content_hash(etag: str, size: int) -> Any:
    """A hash object whose final digest must be the etag; None where the etag is no hash that we know."""
    if _SHA256.fullmatch(etag):
        return hashlib.sha256()
    if _SHA1.fullmatch(etag):
        return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    return None


class PartialFile:
    """Opens `path` where an earlier attempt left it."""

    def __init__(self, path: Path, file: RemoteFile) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = file
        self.size = 0
        self._path = path
        self._digest = content_hash(file.etag, file.size)
        self._stream = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640), "a+b")

    def __enter__(self) -> PartialFile:
        if os.fstat(self._stream.fileno()).st_size > self.file.size:
            self.restart()
        self._stream.seek(0)
        while chunk := self._stream.read(CHUNK_BYTES):
            self._account(chunk)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def append(self, chunk: bytes) -> None:
        self._stream.write(chunk)
        self._account(chunk)

    def restart(self) -> None:
        self._stream.truncate(0)
        self.size = 0
        self._digest = content_hash(self.file.etag, self.file.size)

    def forget(self) -> None:
        """Gives the space back: on a full disk it is needed more than these bytes."""
        self._path.unlink(missing_ok=True)

    def finish(self, destination: Path) -> None:
        """Moves the whole file into place; forgets the bytes and raises DamagedModelError if they are not the hub's."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        hexdigest = self._digest.hexdigest() if self._digest is not None else self.file.etag
        if self.size != self.file.size or hexdigest != self.file.etag:
            self._path.unlink()
            raise DamagedModelError(
                f"{self.file.name} arrived damaged",
                why=f"{self.size} bytes of hash {hexdigest}, where the hub has {self.file.size} of {self.file.etag}",
                remedy="try again: it will be fetched from its start",
            )
        self._path.replace(destination)

    def _account(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self._digest is not None:
            self._digest.update(chunk)
