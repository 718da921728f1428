"""An engine by its key: the store's own, else a remote's, else a new one; one process does it, the others wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import RemoteUnusableError
from stoker.progress import Progress
from stoker.redaction import redacted
from stoker.store.engine import Engine, Manifest
from stoker.store.eviction import evict
from stoker.store.lease import Lease, SharedProgress
from stoker.store.manifest import UntrustedEngineError, UnusableEngineError, check_digests
from stoker.store.policy import StorePolicy
from stoker.store.remotes.fetch import feed_remotes, fetch_from_remotes
from stoker.store.store import Store
from stoker.store.trust import check_trusted

# Makes the engine in an empty directory and describes it; reports to the progress it is given.
Make = Callable[[Path, Progress], Manifest]


@dataclass(frozen=True)
class Wanted:
    """`bytes`: about what the engine will take on the disk."""

    key: str
    bytes: int


def obtain(
    store: Store,
    wanted: Wanted,
    policy: StorePolicy,
    progress: Progress,
    make: Make,
    cancel: threading.Event | None = None,
) -> Engine:
    """Whole, checked as the policy says, and marked as in use until this process ends.

    Raises what `make` raises, StorageError, CacheError, or StoppedError while waiting for another process.
    """
    store.sweep()
    store.use(wanted.key)
    try:
        engine, made = _obtain(store, wanted, policy, progress, make, cancel or threading.Event())
    except BaseException:
        store.release(wanted.key)
        raise
    store.use(wanted.key)
    if made and policy.push:
        feed_remotes(engine, policy, progress)
    if policy.limit is not None and store.writable:
        for gone in evict(store, policy.limit):
            progress.note(f"removed the least recently used engine, {gone.key}, to stay within the limit")
    return engine


def _obtain(
    store: Store, wanted: Wanted, policy: StorePolicy, progress: Progress, make: Make, cancel: threading.Event
) -> tuple[Engine, bool]:
    """The engine, and whether it was made here."""
    try:
        if engine := usable(store, wanted.key, policy, progress):
            progress.note(f"found the engine {wanted.key}")
            return engine, False
    except UnusableEngineError:
        pass  # looked at again below, where no other process can be putting it right
    with store.lease(wanted.key, progress, cancel) as lease:
        store.sweep()  # of whom we follow, if we do
        shared = SharedProgress(progress, lease)
        engine = found_usable(store, wanted.key, policy, shared)
        engine = engine or fetch_from_remotes(store, wanted.key, lease, policy, shared, cancel)
        return (engine, False) if engine else (_made(store, lease, wanted, shared, make), True)


def usable(store: Store, key: str, policy: StorePolicy, progress: Progress) -> Engine | None:
    """Raises UnusableEngineError for one that fails the checks which come before serving."""
    engine = store.find(key)
    if engine is not None:
        check_trusted(engine, policy, progress)
        if policy.check == "full":
            check_digests(engine.directory, engine.manifest)
    return engine


def found_usable(store: Store, key: str, policy: StorePolicy, progress: Progress) -> Engine | None:
    """An engine that is damaged, or that the policy forbids, is put into quarantine and counts as absent."""
    try:
        engine = usable(store, key, policy, progress)
    except UntrustedEngineError as fault:
        put_aside(store, key, str(fault), progress, "is refused")
        return None
    except UnusableEngineError as fault:
        put_aside(store, key, str(fault), progress)
        return None
    if engine is not None:
        progress.note(f"found the engine {key}")
    return engine


def put_aside(store: Store, key: str, fault: str, progress: Progress, how: str = "is damaged") -> None:
    place = store.quarantine(key)
    progress.note(f"the engine {key} {how} ({fault}); it was moved to {place}")


def _made(store: Store, lease: Lease, wanted: Wanted, progress: Progress, make: Make) -> Engine:
    progress.phase("building", wanted.key)
    store.reserve(lease, wanted.bytes)
    with store.workspace(lease) as workspace:
        return store.publish(workspace, make(workspace, progress))


def pull(store: Store, key: str, policy: StorePolicy, progress: Progress) -> Engine:
    """The engine of that key: the store's, else the first remote's that has it. RemoteUnusableError where none has."""
    with store.lease(key, progress) as lease:
        engine = found_usable(store, key, policy, progress)
        engine = engine or fetch_from_remotes(store, key, lease, policy, progress, threading.Event())
    if engine is None:
        raise RemoteUnusableError(
            f"no remote gives the engine {key}",
            why=f"remotes tried: {redacted(', '.join(policy.remotes))}",
            remedy="check the key, and the warnings above",
        )
    return engine
