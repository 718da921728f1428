"""SHA-256 of large files, remembered until a file changes."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stoker.json_text import parse_json
from stoker.progress import Progress
from stoker.resolve.byte_count import ByteCount

DIGESTS = ".digests.json"
CHUNK_BYTES = 1 << 20
_WORKERS = 4
# A file this young may change again within its timestamp's resolution, so its digest is not remembered.
_SETTLED_NANOSECONDS = 2_000_000_000

Stamp = tuple[int, int, int]


class DigestCache:
    """Digests by path, inode, size and modification time, kept in one JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _read(path)
        self._changed = False

    def sha256(self, file: Path, count: Callable[[int], None]) -> str:
        """The digest in hexadecimal; `count` is told of the bytes as they are read, or known."""
        real, stamp = str(file.resolve()), _stamp(file)
        known = self._known.get(real)
        if known is not None and known[0] == stamp:
            count(stamp[1])
            return known[1]
        digest = hash_file(file, count)
        if time.time_ns() - stamp[2] > _SETTLED_NANOSECONDS and _stamp(file) == stamp:
            self.remember(file, digest)
        return digest

    def remember(self, file: Path, digest: str) -> None:
        self._known[str(file.resolve())] = (_stamp(file), digest)
        self._changed = True

    def sha256_of_all(self, files: Iterable[Path], progress: Progress) -> dict[Path, str]:
        """Hashes in parallel, reports progress in bytes, and saves the results."""
        listed = list(files)
        count = ByteCount(progress, sum(file.stat().st_size for file in listed))
        with ThreadPoolExecutor(_WORKERS) as pool:
            digests = dict(zip(listed, pool.map(lambda file: self.sha256(file, count.add), listed), strict=True))
        self.save(progress)
        return digests

    def save(self, progress: Progress) -> None:
        """Writes atomically. A cache that cannot be written only costs the next start its time, so it is a note."""
        if not self._changed:
            return
        merged = {**_read(self._path), **self._known}
        kept = {path: entry for path, entry in merged.items() if Path(path).exists()}
        try:
            _write(self._path, kept)
        except OSError as error:
            progress.note(f"digests of the model's files could not be kept in {self._path}: {error}")
        self._changed = False


def hash_file(file: Path, count: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            count(len(chunk))
    return digest.hexdigest()


def _stamp(file: Path) -> Stamp:
    status = file.stat()
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _read(path: Path) -> dict[str, tuple[Stamp, str]]:
    """What an earlier start kept; nothing where it is unreadable, for it can be computed again."""
    try:
        entries = parse_json(path.read_bytes())
        return {name: ((inode, size, time_ns), digest) for name, (inode, size, time_ns, digest) in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(path: Path, entries: Mapping[str, tuple[Stamp, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps({name: [*stamp, digest] for name, (stamp, digest) in entries.items()}))
    temporary.replace(path)


def directory_revision(directory: Path, names: Iterable[str], digests: DigestCache, progress: Progress) -> str:
    """SHA-256 over names, sizes and contents: one changed byte is another revision."""
    ordered = sorted(names)
    contents = digests.sha256_of_all([directory / name for name in ordered], progress)
    digest = hashlib.sha256()
    for name in ordered:
        path = directory / name
        digest.update(f"{name}\0{path.stat().st_size}\0{contents[path]}\n".encode())
    return digest.hexdigest()
