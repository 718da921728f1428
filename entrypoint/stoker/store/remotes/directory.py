"""file://: a directory, such as a mounted share."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from stoker.store.remotes.remote import DOCUMENT_BYTES, RemoteError, checked_size

_CHUNK_BYTES = 1 << 20


class DirectoryTree:
    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> bytes | None:
        self._check_there()
        try:
            with (self._root / path).open("rb") as file:
                return checked_size(file.read(DOCUMENT_BYTES + 1))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RemoteError(str(error)) from error

    @contextmanager
    def open(self, path: str, start: int, end: int) -> Iterator[Iterable[bytes]]:
        try:
            with (self._root / path).open("rb") as file:
                file.seek(start)
                yield _pieces(file, end - start)
        except FileNotFoundError as error:
            raise RemoteError(f"{path} is missing") from error

    def write(self, path: str, source: Path) -> None:
        with source.open("rb") as file:
            self._replace(path, file)

    def write_bytes(self, path: str, data: bytes) -> None:
        self._replace(path, io.BytesIO(data))

    def _check_there(self) -> None:
        """A share that is not mounted must not be taken for an empty one, nor filled."""
        if not self._root.is_dir():
            raise RemoteError(f"there is no directory {self._root}")

    def _replace(self, path: str, source: IO[bytes]) -> None:
        self._check_there()
        target = self._root / path
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                shutil.copyfileobj(source, file, _CHUNK_BYTES)
            temporary.replace(target)
        except OSError as error:
            raise RemoteError(str(error)) from error
        finally:
            temporary.unlink(missing_ok=True)


def _pieces(file: IO[bytes], count: int) -> Iterator[bytes]:
    while count > 0 and (piece := file.read(min(count, _CHUNK_BYTES))):
        count -= len(piece)
        yield piece
