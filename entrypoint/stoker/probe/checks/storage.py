"""Shared memory, the cache directory and its disk."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from stoker.probe.checks.check import Check, sized
from stoker.probe.mounts import mount_of, read_mounts

# Triton's Python backend takes a region of 1 MiB for each model instance and grows it by the tokens of waiting prompts.
_LEAST_SHARED_MEMORY = 256 << 20
_SHARED_MEMORY_TO_START = 16 << 20
_LEAST_DISK = 5 << 30
_NETWORK_FILESYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "fuse.s3fs", "lustre", "glusterfs")
_OF_THE_KERNEL = tuple(map(Path, ("/proc", "/sys", "/dev", "/run")))
_OF_THE_SYSTEM = frozenset(
    map(Path, ("/bin", "/boot", "/etc", "/home", "/lib", "/opt", "/root", "/tmp", "/usr", "/var"))  # noqa: S108
)
_PASSING_FILESYSTEMS = ("tmpfs", "ramfs", "overlay")


def check_shared_memory(size: int, root: Path = Path("/"), least: int = _LEAST_SHARED_MEMORY) -> Check:
    """`size` of /dev/shm in bytes, `least` what it should have. Docker gives a container 64 MiB unless told."""
    name, remedy = "shared memory", "docker run --shm-size=1g (Kubernetes: an emptyDir of medium Memory at /dev/shm)"
    if size == 0:
        return Check(name, "failed", "no /dev/shm", remedy)
    status = os.statvfs(root / "dev/shm")
    free = status.f_frsize * status.f_bavail
    found = f"{sized(free)} free of {sized(size)}"
    with_gpus = least > _LEAST_SHARED_MEMORY
    if size < (_LEAST_SHARED_MEMORY if with_gpus else _SHARED_MEMORY_TO_START):
        return Check(name, "failed", found, remedy)
    if size < least:
        told = "with GPUs it should be" if with_gpus else "for many long prompts it should be"
        return Check(name, "warning", f"{found}; {told} {sized(least)}", remedy)
    if free < _LEAST_SHARED_MEMORY:
        return Check(name, "warning", found, "remove what dead programs left in /dev/shm, or make it larger")
    return Check(name, "ok", found)


def check_cache(cache: Path) -> Check:
    """Writable, by writing: permissions alone do not tell on network and user-mapped file systems."""
    name = "cache"
    directory = nearest_existing(cache)
    if not directory.is_dir():
        return Check(name, "failed", f"{directory} is not a directory", "choose another with --cache")
    try:
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        return Check(
            name, "failed", f"{directory}: {error.strerror} ({_ownership(directory)})", _permission_remedy(directory)
        )
    return Check(name, "ok", str(cache) if directory == cache else f"{cache} can be made")


def nearest_existing(path: Path) -> Path:
    """`path`, or the first directory above it that exists."""
    path = path.absolute()
    return next((place for place in (path, *path.parents) if place.exists()), Path("/"))


def _ownership(directory: Path) -> str:
    status = directory.stat()
    return f"owner {status.st_uid}, mode {stat.filemode(status.st_mode)}, this process is user {os.geteuid()}"


def _permission_remedy(directory: Path) -> str:
    another = "choose another with --cache"
    if not may_be_given(directory):
        return another
    return f"give it to user {os.geteuid()} (chown, or docker's --user and a volume), or {another}"


def may_be_given(place: Path) -> bool:
    """Whether to change its owner is sound advice: for a directory that someone made, and not for one of the system's
    or of the kernel's."""
    resolved = place.resolve()
    if not resolved.is_dir() or resolved == Path("/") or resolved in _OF_THE_SYSTEM:
        return False
    return not any(top in (resolved, *resolved.parents) for top in _OF_THE_KERNEL)


def check_filesystem(cache: Path, root: Path = Path("/")) -> Check:
    """Engines are memory-mapped and locked: slow and unreliable over a network, lost on what lives in memory."""
    mount = mount_of(nearest_existing(cache), read_mounts(root))
    filesystem = mount.filesystem if mount else "unknown"
    if filesystem in _NETWORK_FILESYSTEMS:
        remedy = "file locks and memory mapping may be slow or missing; a local disk is better"
        return Check("file system", "warning", f"{filesystem}, over a network", remedy)
    if filesystem in _PASSING_FILESYSTEMS:
        lost = "with the machine" if filesystem != "overlay" else "with the container"
        remedy = "mount a volume: docker run -v stoker:/cache"
        return Check("file system", "warning", f"{filesystem}: the cache is lost {lost}", remedy)
    return Check("file system", "ok", filesystem)


def check_disk(cache: Path) -> Check:
    usage = shutil.disk_usage(nearest_existing(cache))
    found = f"{sized(usage.free)} free of {sized(usage.total)}"
    if usage.free < _LEAST_DISK:
        remedy = "a model needs its size twice, once downloaded and once built: make room, or choose another --cache"
        return Check("disk", "warning", found, remedy)
    return Check("disk", "ok", found)
