"""A directory seen through FUSE, each operation delayed: `python slow_filesystem.py SOURCE MOUNT SECONDS`.

Like a network file system it answers slowly, has no local page cache for writes, and its locks are the server's.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import mfusepy


class Slow(mfusepy.Operations):
    """Passes through to `source`; files are kept by descriptor, so that renamed and removed ones stay open."""

    use_ns = True

    def __init__(self, source: str, seconds: float) -> None:
        self.source = source
        self.seconds = seconds

    def at(self, path: str) -> str:
        """Where it is in the source, after the delay."""
        time.sleep(self.seconds)
        return self.source + path

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        status = os.lstat(self.at(path))
        names = ("st_atime_ns", "st_ctime_ns", "st_mtime_ns", "st_gid", "st_mode", "st_nlink", "st_size", "st_uid")
        return {name.removesuffix("_ns"): getattr(status, name) for name in names}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(self.at(path))]

    def statfs(self, path: str) -> dict[str, int]:
        status = os.statvfs(self.at(path))
        names = (
            "f_bavail",
            "f_bfree",
            "f_blocks",
            "f_bsize",
            "f_favail",
            "f_ffree",
            "f_files",
            "f_frsize",
            "f_namemax",
        )
        return {name: getattr(status, name) for name in names}

    def open(self, path: str, flags: int) -> int:
        return os.open(self.at(path), flags)

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        descriptor = os.open(self.at(path), os.O_RDWR | os.O_CREAT, mode)
        self._give(path)
        return descriptor

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(self.at(path), mode)
        self._give(path)

    def _give(self, path: str) -> None:
        """What a user makes is the user's."""
        user, group, _ = mfusepy.fuse_get_context()
        os.chown(self.source + path, user, group)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        time.sleep(self.seconds)
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        time.sleep(self.seconds)
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        os.truncate(self.at(path) if fh is None else fh, length)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        time.sleep(self.seconds)
        os.fsync(fh)

    def release(self, path: str, fh: int) -> None:
        os.close(fh)

    def rename(self, old: str, new: str) -> None:
        os.rename(self.at(old), self.source + new)

    def unlink(self, path: str) -> None:
        os.unlink(self.at(path))

    def rmdir(self, path: str) -> None:
        os.rmdir(self.at(path))

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self.at(path), mode)

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        if times is None:
            os.utime(self.at(path))
        else:
            os.utime(self.at(path), ns=times)

    def symlink(self, target: str, source: str) -> None:
        os.symlink(source, self.at(target))

    def readlink(self, path: str) -> str:
        return os.readlink(self.at(path))


if __name__ == "__main__":
    mfusepy.FUSE(Slow(sys.argv[1], float(sys.argv[3])), sys.argv[2], foreground=True, allow_other=True, nothreads=False)
