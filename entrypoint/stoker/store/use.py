"""Marks of engines in use, `<key>.use.<owner>`, so that eviction spares them, on other nodes too."""

from __future__ import annotations

import atexit
import contextlib
from contextlib import ExitStack
from pathlib import Path

from stoker.store.heartbeat import STALE_SECONDS, Heartbeat, is_alive, touch
from stoker.store.owner import owner_in, this_process

_BEAT_SECONDS = 10.0
_STALE_SECONDS = 120.0
_marks: dict[Path, ExitStack] = {}


def mark_used(locks: Path, key: str) -> None:
    """Holds until `unmark`, or the process's end."""
    path = locks / f"{key}.use.{this_process()}"
    if path in _marks:
        return
    path.touch()
    stack = ExitStack()
    stack.callback(lambda: path.unlink(missing_ok=True))
    stack.enter_context(Heartbeat(lambda: touch(path), _BEAT_SECONDS))
    _marks[path] = stack
    atexit.register(unmark, locks, key)


def unmark(locks: Path, key: str) -> None:
    stack = _marks.pop(locks / f"{key}.use.{this_process()}", None)
    if stack is not None:
        with contextlib.suppress(OSError):
            stack.close()


def sweep_locks(locks: Path) -> None:
    """Removes what the dead have left: marks, leases, and leases half written."""
    for path in locks.iterdir():
        patience = _STALE_SECONDS if ".use." in path.name or path.name.startswith(".") else STALE_SECONDS
        owner = owner_in(path.name) or owner_in(_text(path))
        if not is_alive(path, owner, patience):
            path.unlink(missing_ok=True)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def is_used(locks: Path, key: str) -> bool:
    """Clears away the marks of the dead on the way."""
    living = False
    for path in locks.glob(f"{key}.use.*"):
        if is_alive(path, owner_in(path.name), _STALE_SECONDS):
            living = True
        else:
            path.unlink(missing_ok=True)
    return living
