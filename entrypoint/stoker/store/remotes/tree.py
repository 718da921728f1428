"""Remotes that are trees of files: `<key>/engine.json`, `<key>/engine.json.sig`, and the files beside them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from stoker.progress import Progress
from stoker.resolve.byte_count import ByteCount
from stoker.store.engine import EngineFile
from stoker.store.manifest import NAME, SIGNATURE, parse_manifest
from stoker.store.remotes.remote import Offer, RemoteError, Signed


class Tree(Protocol):
    """Paths are relative, with slashes."""

    def read(self, path: str) -> bytes | None:
        """A small file; None where there is none."""

    def open(self, path: str, start: int, end: int) -> AbstractContextManager[Iterable[bytes]]: ...

    def write(self, path: str, source: Path) -> None: ...

    def write_bytes(self, path: str, data: bytes) -> None: ...


class TreeRemote:
    def __init__(self, address: str, tree: Tree) -> None:
        self.address = address
        self._tree = tree

    def offer(self, key: str) -> Offer | None:
        manifest = self._tree.read(f"{key}/{NAME}")
        if manifest is None:
            return None
        signature = self._tree.read(f"{key}/{SIGNATURE}")
        return Offer(manifest, () if signature is None else (Signed(manifest, _decoded(signature)),))

    def open(self, key: str, file: EngineFile, start: int, end: int) -> AbstractContextManager[Iterable[bytes]]:
        return self._tree.open(f"{key}/{file.path}", start, end)

    def put(self, key: str, directory: Path, offer: Offer, progress: Progress) -> None:
        """engine.json comes last: until then nobody takes it for an engine."""
        files = parse_manifest(offer.manifest).files
        count = ByteCount(progress, sum(file.size for file in files))
        for file in files:
            self._tree.write(f"{key}/{file.path}", directory / file.path)
            count.add(file.size)
        for signed in offer.signed:
            self._tree.write_bytes(f"{key}/{SIGNATURE}", base64.b64encode(signed.signature))
        self._tree.write_bytes(f"{key}/{NAME}", offer.manifest)


def _decoded(signature: bytes) -> bytes:
    try:
        return base64.b64decode(signature, validate=False)
    except binascii.Error as error:
        raise RemoteError(f"{SIGNATURE} is not base64") from error
