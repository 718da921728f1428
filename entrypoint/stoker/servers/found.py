"""The servers that run on this machine, found by their processes: nothing is written down that could go stale."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import ServerError, ServerUnreachableError
from stoker.listening import Listener, all_listeners, open_files, shown
from stoker.servers.endpoint import Endpoint

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}  # noqa: S104 - where one that listens everywhere is asked


@dataclass(frozen=True)
class Running:
    """`models`: the names that it serves, empty before it is ready. `phase` as /v1/health/startup has it."""

    pid: int
    endpoint: Endpoint
    phase: str
    models: tuple[str, ...]
    elapsed_seconds: float


def running_servers(key: str = "") -> list[Running]:
    """Those of this user's processes, in the order of their ports; nobody else's is sent the key."""
    found = sorted(_addresses(), key=lambda each: each[1].port)
    return [server for pid, listener in found if (server := _asked(pid, listener, key)) is not None]


def _addresses() -> Iterator[tuple[int, Listener]]:
    """Where processes of `stoker` listen; an address that several share appears once."""
    by_inode = {f"socket:[{listener.inode}]": listener for listener in all_listeners()}
    seen: set[tuple[str, int]] = set()
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        if not _is_ours(folder):
            continue
        for listener in filter(None, map(by_inode.get, open_files(folder))):
            if (listener.address, listener.port) not in seen:
                seen.add((listener.address, listener.port))
                yield int(folder.name), listener


def _is_ours(folder: Path) -> bool:
    """Whether this user's process runs our command: as the script, or as `python -m stoker`."""
    with suppress(OSError):
        if folder.stat().st_uid != os.geteuid():
            return False
        words = (folder / "cmdline").read_bytes().split(b"\0")[:8]
        return any(word.rpartition(b"/")[2] == b"stoker" for word in words)
    return False


def _asked(pid: int, listener: Listener, key: str) -> Running | None:
    """None for a port that is not an API's, such as one for management."""
    place = shown(_LOOPBACK.get(listener.address, listener.address), listener.port)
    for endpoint in (Endpoint(f"http://{place}", key), Endpoint(f"https://{place}", key, trusting=True)):
        with suppress(ServerError, ServerUnreachableError):
            return _described(pid, endpoint)
    return None


def _described(pid: int, endpoint: Endpoint) -> Running | None:
    report = endpoint.document("/v1/health/startup")
    if "phase" not in report:
        return None
    try:
        models = endpoint.models()
    except ServerError as error:
        if not error.remedy:  # no such path: a management port
            return None
        models = ()
    return Running(pid, endpoint, str(report["phase"]), models, float(report.get("elapsed_seconds") or 0))
