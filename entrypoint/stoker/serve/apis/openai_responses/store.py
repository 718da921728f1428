"""Responses that are kept, so that a later request may go on from them. Off unless it is asked for."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

import msgspec

logger = logging.getLogger(__name__)

MOST_BYTES = 256 << 20
KEPT_SECONDS = 30 * 24 * 3600  # as OpenAI keeps them
_ID = re.compile(r"resp_[0-9a-f]{32}")


class Kept(msgspec.Struct, frozen=True):
    """`items`: the whole conversation, up to and with this response's output. `owner`: the client whose it is."""

    owner: str
    response: dict[str, Any]
    items: list[dict[str, Any]]


class ResponseStore(Protocol):
    def put(self, kept: Kept) -> None: ...

    def get(self, id_: str, owner: str) -> Kept | None:
        """None also for another client's."""
        ...

    def delete(self, id_: str, owner: str) -> bool: ...


class MemoryStore:
    """The latest ones, as many as fit `most_bytes`."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, tuple[Kept, int]] = OrderedDict()
        self._bytes = 0

    def put(self, kept: Kept) -> None:
        size = len(msgspec.json.encode(kept))
        self._kept[kept.response["id"]] = kept, size
        self._bytes += size
        while self._bytes > self._most_bytes and self._kept:
            self._bytes -= self._kept.popitem(last=False)[1][1]

    def get(self, id_: str, owner: str) -> Kept | None:
        kept, _ = self._kept.get(id_, (None, 0))
        return kept if kept is not None and kept.owner == owner else None

    def delete(self, id_: str, owner: str) -> bool:
        if self.get(id_, owner) is None:
            return False
        self._bytes -= self._kept.pop(id_)[1]
        return True


class DirectoryStore:
    """A file each, readable by its owner alone; those older than `kept_seconds` are removed."""

    def __init__(self, directory: Path, kept_seconds: float = KEPT_SECONDS) -> None:
        self._directory = directory
        self._kept_seconds = kept_seconds
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clean()

    def put(self, kept: Kept) -> None:
        """What cannot be written is logged: the answer itself is not lost by it."""
        path = self._directory / f"{kept.response['id']}.json"
        new = path.with_suffix(".new")
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(msgspec.json.encode(kept))
            new.replace(path)
        except OSError as error:
            logger.error("a response could not be stored: %s", error)

    def get(self, id_: str, owner: str) -> Kept | None:
        path = self._path(id_)
        if path is None:
            return None
        try:
            if time.time() - path.stat().st_mtime > self._kept_seconds:
                return None
            kept = msgspec.json.decode(path.read_bytes(), type=Kept)
        except (OSError, msgspec.MsgspecError):
            return None
        return kept if kept.owner == owner else None

    def delete(self, id_: str, owner: str) -> bool:
        path = self._path(id_)
        if path is None or self.get(id_, owner) is None:
            return False
        path.unlink(missing_ok=True)
        return True

    def _path(self, id_: str) -> Path | None:
        return self._directory / f"{id_}.json" if _ID.fullmatch(id_) else None

    def _clean(self) -> None:
        for path in self._directory.glob("resp_*.json"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > self._kept_seconds:
                    path.unlink()


def store_of(wish: str | None) -> ResponseStore | None:
    """`memory`, a directory, or nothing for none. OSError for a directory that cannot be made."""
    if not wish or wish == "off":
        return None
    return MemoryStore() if wish == "memory" else DirectoryStore(Path(wish).expanduser())
