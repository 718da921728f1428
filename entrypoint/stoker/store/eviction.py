"""Keeps the store within a size: what was used longest ago goes first, and what is in use never."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stoker.resolve.kept import half_deleted
from stoker.store.store import Store
from stoker.store.trust import forget_others
from stoker.store.workspace import size_of


@dataclass(frozen=True)
class Stored:
    """`used`: when it was last used or made, in seconds since the epoch."""

    key: str
    bytes: int
    used: float


def evict(store: Store, limit: int) -> list[Stored]:
    """Deletes until at most `limit` bytes of engines are left, or only such as are in use; returns what went."""
    stored = sorted(stored_engines(store), key=lambda each: each.used)
    total = sum(each.bytes for each in stored)
    gone = []
    for each in stored:
        if total <= limit:
            break
        if not store.is_used(each.key) and store.discard(each.key):
            total -= each.bytes
            gone.append(each)
    return gone


def stored_engines(store: Store) -> Iterator[Stored]:
    """What went while it was looked at is left out."""
    for directory in store.engines.iterdir():
        try:
            yield Stored(directory.name, size_of(directory), directory.stat().st_mtime)
        except FileNotFoundError:
            continue


def clear_remains(store: Store) -> int:
    """Deletes what is of no use: engines put aside as damaged, interrupted transfers, and what the dead left; returns
    bytes freed."""
    left = remains(store)
    freed = sum(size_of(path) for path in left)
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    store.sweep()
    if store.writable:
        forget_others(store.cache, {path.name for path in store.engines.iterdir()})
    return freed


def remains(store: Store) -> list[Path]:
    """What was put aside as damaged, and transfers and deletions that did not finish."""
    folders = [folder for folder in (store.quarantined, store.partial) if folder.is_dir()]
    return [*(path for folder in folders for path in folder.iterdir()), *half_deleted(store.cache / "models")]


def discard_unusable(store: Store, fault: Callable[[str], str]) -> Iterator[tuple[Stored, str]]:
    """Deletes the engines in which `fault` finds something, by their keys, unless they are in use; yields each and
    what is wrong with it."""
    for each in list(stored_engines(store)):
        if (found := fault(each.key)) and not store.is_used(each.key) and store.discard(each.key):
            yield each, found
