"""What every remote can do, and how it fails."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stoker.progress import Progress
from stoker.store.engine import EngineFile

# Seconds. A remote that is down or mute costs about this much, and a warning.
CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0


class RemoteError(Exception):
    """This remote is of no use just now; the text says why."""


class TransientError(RemoteError):
    """Another attempt may succeed: the connection was cut, or the server is overloaded."""


@dataclass(frozen=True)
class Signed:
    """`payload` vouches for the engine.json it came with; `signature` is DER, over the payload's SHA-256."""

    payload: bytes
    signature: bytes


@dataclass(frozen=True)
class Offer:
    """An engine that a remote has: its engine.json, and what was signed of it."""

    manifest: bytes
    signed: tuple[Signed, ...] = ()


class Remote(Protocol):
    """Reads raise RemoteError only; the fetching side checks every byte, so a remote need not be trusted."""

    address: str

    def offer(self, key: str) -> Offer | None:
        """None where it does not have the engine."""

    def open(self, key: str, file: EngineFile, start: int, end: int) -> AbstractContextManager[Iterable[bytes]]:
        """The bytes from `start` up to and without `end`."""

    def put(self, key: str, directory: Path, offer: Offer, progress: Progress) -> None:
        """Keeps the engine in `directory`, whose engine.json is the offer's. RemoteError where it cannot."""
