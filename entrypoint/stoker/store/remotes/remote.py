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
# For all of an offer: finding the remote, logging in, engine.json and its signatures.
OFFER_SECONDS = 30.0
# Of engine.json, a manifest, a signature: the largest that we write have some tens of kilobytes.
DOCUMENT_BYTES = 4 << 20


class RemoteError(Exception):
    """This remote is of no use just now; the text says why."""


class TransientError(RemoteError):
    """Another attempt may succeed: the connection was cut, or the server is overloaded and wants one `after` so many
    seconds (0: it does not say)."""

    def __init__(self, text: str, after: float = 0.0) -> None:
        super().__init__(text)
        self.after = after


@dataclass(frozen=True)
class Signed:
    """`payload` is engine.json, or names `link` by its digest, the registry's manifest that names engine.json in turn.
    `signature` is DER, over the payload's SHA-256."""

    payload: bytes
    signature: bytes
    link: bytes = b""


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


def checked_size(document: bytes) -> bytes:
    """Of one of which no more than DOCUMENT_BYTES + 1 were read."""
    if len(document) > DOCUMENT_BYTES:
        raise RemoteError(f"it has more than {DOCUMENT_BYTES:,} bytes where a small document was expected")
    return document
