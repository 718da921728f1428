"""One builder an engine, among processes, containers and nodes that share a cache.

A lease is a file `<key>.lease.<number>` made with O_EXCL, which is atomic on NFS too, and touched while its holder
lives. Whoever finds the newest one dead makes the next number; of several who do, one succeeds. Should two come to hold
leases all the same (a holder that hung and woke up), both build, and the second to publish takes the first one's
engine: leases save work, correctness rests on the rename that publishes.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.errors import StoppedError
from stoker.json_text import parse_json
from stoker.progress import Progress
from stoker.store.heartbeat import Heartbeat, is_alive, touch
from stoker.store.owner import owner_in, this_process

POLL_SECONDS = 0.25


@dataclass
class Lease:
    """Held while the file is there and fresh. `progress` is a listener that lets the waiting ones see how far it is;
    `reserved` bytes of the disk are reserved, of which `workspace` has taken some already."""

    path: Path
    reserved: int = 0
    workspace: str = ""
    phase: str = ""
    done: int = 0
    total: int = 0
    unit: str = "bytes"

    def write(self) -> None:
        """Whole or not at all, so that nobody reads half of it; the new file's time is the heartbeat."""
        temporary = self.path.with_name(f".{self.path.name}.{this_process()}")
        try:
            temporary.write_text(json.dumps(self._document()))
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)  # on a full disk, half of it is there

    def beat(self) -> None:
        """On a full disk only the time is told."""
        try:
            self.write()
        except OSError:
            touch(self.path)

    def _document(self) -> dict[str, object]:
        about = {name: value for name, value in vars(self).items() if name != "path"}
        return {"owner": str(this_process()), "host": socket.gethostname(), "pid": os.getpid(), **about}


class SharedProgress:
    """Passes everything on, and keeps the last of it where the lease tells the waiting ones."""

    def __init__(self, progress: Progress, lease: Lease) -> None:
        self._progress = progress
        self._lease = lease

    def phase(self, name: str, detail: str = "") -> None:
        self._lease.phase, self._lease.done, self._lease.total = name, 0, 0
        self._progress.phase(name, detail)

    def advance(self, done: int, total: int, unit: str = "bytes") -> None:
        self._lease.done, self._lease.total, self._lease.unit = done, total, unit
        self._progress.advance(done, total, unit)

    def note(self, text: str) -> None:
        self._progress.note(text)

    def expect(self, seconds: Mapping[str, float]) -> None:
        self._progress.expect(seconds)


@contextmanager
def leased(locks: Path, key: str, progress: Progress, cancel: threading.Event | None = None) -> Iterator[Lease]:
    """Waits, telling how far the holder is, until the lease is ours. StoppedError once `cancel` is set."""
    lease = _acquire(locks, key, progress, cancel or threading.Event())
    try:
        with Heartbeat(lease.beat):
            yield lease
    finally:
        lease.path.unlink(missing_ok=True)


def living_leases(locks: Path, key: str = "") -> Iterator[tuple[Path, dict[str, object]]]:
    """Leases, of one key or of all, whose holders live; with what they tell."""
    for path in sorted(locks.glob(f"{key or '*'}.lease.*"), key=_number):
        document = _read(path)
        if is_alive(path, owner_in(str(document.get("owner", "")))):
            yield path, document


def _acquire(locks: Path, key: str, progress: Progress, cancel: threading.Event) -> Lease:
    told = ""
    while True:
        holder = next(living_leases(locks, key), None)
        if holder is None and (lease := _try(locks, key)):
            return lease
        if holder is not None:
            told = _tell(progress, key, holder[1], told)
        if cancel.wait(POLL_SECONDS):
            raise StoppedError("stopped while another process built the engine")


def _try(locks: Path, key: str) -> Lease | None:
    """The next number, unless somebody else is quicker; what is older and dead is cleared away."""
    older = sorted(locks.glob(f"{key}.lease.*"), key=_number)
    path = locks / f"{key}.lease.{_number(older[-1]) + 1 if older else 1}"
    lease = Lease(path)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    except FileExistsError:
        return None
    with os.fdopen(descriptor, "w") as file:
        json.dump(lease._document(), file)
    first = next(living_leases(locks, key), None)
    if first is not None and first[0] != path:  # made at the same moment: the lower number holds
        path.unlink(missing_ok=True)
        return None
    for each in older:
        each.unlink(missing_ok=True)
    return lease


def _tell(progress: Progress, key: str, holder: dict[str, Any], told: str) -> str:
    """Shows the holder's own progress; a new holder is announced once."""
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
    if who != told:
        progress.phase("building", f"{key}: waiting for {who}, which is at it")
    if total := holder.get("total"):
        progress.advance(int(holder.get("done", 0)), int(total), str(holder.get("unit", "bytes")))
    return who


def _read(path: Path) -> dict[str, Any]:
    """Nothing where the holder has only just made it."""
    for _ in range(3):
        with contextlib.suppress(OSError, ValueError):
            document = parse_json(path.read_bytes())
            return document if isinstance(document, dict) else {}
        time.sleep(0.01)
    return {}


def _number(path: Path) -> int:
    text = path.name.rpartition(".")[2]
    return int(text) if text.isdigit() else 0
