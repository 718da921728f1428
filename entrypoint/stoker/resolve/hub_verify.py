"""Whether the cache still holds the hub's bytes: blobs are named by the hash of what they must contain."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from stoker.errors import DamagedModelError
from stoker.progress import Progress
from stoker.resolve.checkpoint import small_files
from stoker.resolve.digests import DIGESTS, DigestCache
from stoker.resolve.partial_file import content_hash

_SHA256 = re.compile(r"[0-9a-f]{64}")


def verify_small_files(directory: Path, names: Iterable[str]) -> None:
    """Hashes the small files anew at each start: together they are a few megabytes."""
    for name in small_files(set(names)):
        path = directory / name
        if not path.is_file():
            continue
        blob = path.resolve()
        digest = content_hash(blob.name, blob.stat().st_size)
        if digest is None:  # a file system without links: the contents have no name to be compared with
            continue
        digest.update(blob.read_bytes())
        _compare(path, blob, digest.hexdigest())


def verify_weights(directory: Path, names: Iterable[str], models: Path, progress: Progress) -> None:
    """Hashes what was not hashed since it last changed; downloads are hashed while they arrive.

    Raises DamagedModelError that names the file.
    """
    blobs = {(directory / name).resolve(): directory / name for name in names}
    hashed = [blob for blob in blobs if _SHA256.fullmatch(blob.name)]
    for blob, digest in DigestCache(models / DIGESTS).sha256_of_all(hashed, progress).items():
        _compare(blobs[blob], blob, digest)


def remember_weights(blobs: Iterable[Path], models: Path, progress: Progress) -> None:
    """Notes that blobs were hashed while they arrived, so that the next look does not read them again."""
    digests = DigestCache(models / DIGESTS)
    for blob in blobs:
        if _SHA256.fullmatch(blob.name):
            digests.remember(blob, blob.name)
    digests.save(progress)


def _compare(path: Path, blob: Path, digest: str) -> None:
    if digest != blob.name:
        raise DamagedModelError(
            f"{path.name} is damaged",
            why=f"the hash of {blob} is {digest}, not its name: its contents have changed",
            remedy=f"delete {blob}; it will be fetched again",
        )
