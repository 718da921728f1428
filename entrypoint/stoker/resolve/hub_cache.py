"""One repository's place in the Hugging Face cache layout, so that other tools can share the files.

models--org--name/blobs/<etag>                      contents, named by their hash
models--org--name/snapshots/<commit>/<file>         symbolic links to them
models--org--name/refs/<revision>                   the commit that a branch or tag was at
.locks/models--org--name/<etag>.lock                held while a blob is written
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PREFIX = "models--"  # of a repository's folder
PARTIAL = ".incomplete"  # ends the name of a blob that is not whole yet
_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_commit(revision: str) -> bool:
    return _COMMIT.fullmatch(revision) is not None


@dataclass(frozen=True)
class RepositoryCache:
    """`root` is the folder of all repositories."""

    root: Path
    repository: str

    @property
    def name(self) -> str:
        return PREFIX + self.repository.replace("/", "--")

    @property
    def folder(self) -> Path:
        return self.root / self.name

    def snapshot(self, commit: str) -> Path:
        return self.folder / "snapshots" / commit

    def blob(self, etag: str) -> Path:
        return self.folder / "blobs" / etag

    def partial(self, etag: str) -> Path:
        """Where a download grows; its bytes are kept when it is interrupted."""
        return self.folder / "blobs" / f"{etag}{PARTIAL}"

    def commit_of(self, revision: str) -> str | None:
        """The commit that the revision was at when the hub was last asked."""
        if is_commit(revision):
            return revision
        try:
            commit = (self.folder / "refs" / revision).read_text().strip()
        except OSError:
            return None
        return commit if is_commit(commit) else None

    def remember_commit(self, revision: str, commit: str) -> None:
        if is_commit(revision) or self.commit_of(revision) == commit:
            return
        path = self.folder / "refs" / revision
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        temporary.write_text(commit)
        temporary.replace(path)

    def touch(self) -> None:
        """Notes the use, for `stoker list`; if it can be noted."""
        with suppress(OSError):
            os.utime(self.folder)

    def link(self, etag: str, commit: str, file: str) -> None:
        """Puts a finished blob into the snapshot: as a link, or itself where the file system has none."""
        pointer = self.snapshot(commit) / file
        pointer.parent.mkdir(parents=True, exist_ok=True)
        temporary = pointer.with_name(f"{pointer.name}.{os.getpid()}.tmp")
        temporary.unlink(missing_ok=True)
        try:
            temporary.symlink_to(os.path.relpath(self.blob(etag), pointer.parent))
        except OSError:
            self.blob(etag).replace(temporary)
        temporary.replace(pointer)

    @contextmanager
    def locked(self, etag: str) -> Iterator[bool]:
        """Yields whether the blob's lock was free; does not wait."""
        path = self.root / ".locks" / self.name / f"{etag}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            yield _try_lock(file)


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
