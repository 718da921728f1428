"""Engines from remotes and to them. A remote that is down, slow or wrong costs seconds and a line, never the start."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import threading
from pathlib import Path

from stoker.errors import StorageError
from stoker.progress import Progress
from stoker.store.engine import Engine, Manifest
from stoker.store.key import digest_of
from stoker.store.lease import Lease
from stoker.store.manifest import NAME, SIGNATURE, UnusableEngineError, parse_manifest
from stoker.store.policy import StorePolicy
from stoker.store.remotes.address import open_remote
from stoker.store.remotes.remote import Offer, Remote, RemoteError, Signed
from stoker.store.remotes.transfer import Patience, Transfer
from stoker.store.signature import is_signed, sign
from stoker.store.store import Store
from stoker.store.workspace import storage_error


def fetch_from_remotes(
    store: Store,
    key: str,
    lease: Lease,
    policy: StorePolicy,
    progress: Progress,
    cancel: threading.Event,
    patience: Patience | None = None,
) -> Engine | None:
    """From the first remote that has it and is believed. StorageError where it does not fit; StoppedError."""
    for address in policy.remotes:
        try:
            engine = _fetch(store, key, lease, address, policy, progress, cancel, patience)
        except (RemoteError, UnusableEngineError) as error:
            progress.note(f"warning: no engine from {address}: {error}")
            continue
        if engine is not None:
            progress.note(f"fetched the engine {key} from {address}")
            return engine
    return None


def _fetch(
    store: Store,
    key: str,
    lease: Lease,
    address: str,
    policy: StorePolicy,
    progress: Progress,
    cancel: threading.Event,
    patience: Patience | None,
) -> Engine | None:
    remote = open_remote(address)
    offer = remote.offer(key)
    if offer is None:
        return None
    manifest = believed(offer, key, policy, progress, address)
    progress.phase("downloading", f"{key} from {address}")
    directory = store.partial / key
    try:
        store.reserve(lease, sum(file.size for file in manifest.files) - _arrived(directory))
        Transfer(remote, key, directory, progress, cancel, patience).run(manifest.files)
        _write_documents(directory, offer)
        return store.adopt(directory, manifest)
    except OSError as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise storage_error(error, store.cache) from error
    except StorageError:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    finally:
        with contextlib.suppress(OSError):
            store.partial.rmdir()


def believed(offer: Offer, key: str, policy: StorePolicy, progress: Progress, place: str) -> Manifest:
    """UnusableEngineError for what is not the engine of that key, or not signed where it must be."""
    manifest = parse_manifest(offer.manifest)
    if manifest.key != key or digest_of(manifest.inputs) != key.rpartition("-")[2]:
        raise UnusableEngineError(f"its engine.json is not that of {key}")
    check_signature(offer.signed, policy, progress, place)
    return manifest


def check_signature(signed: tuple[Signed, ...], policy: StorePolicy, progress: Progress, place: str) -> None:
    if policy.signatures == "off" or policy.public_key is None:
        return
    if is_signed(policy.public_key, signed):
        return
    why = "its signature is not by the expected key" if signed else "it is not signed"
    if policy.signatures == "enforce":
        raise UnusableEngineError(f"{why}, and signatures are enforced")
    progress.note(f"warning: the engine from {place}: {why}")


def _arrived(directory: Path) -> int:
    """Bytes on the disk of an earlier attempt; the files themselves are sparse."""
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


def _write_documents(directory: Path, offer: Offer) -> None:
    """The remote's own bytes, since the signature is over these; flushed, as a built engine's are."""
    for signed in offer.signed:
        if signed.payload == offer.manifest:
            (directory / SIGNATURE).write_bytes(base64.b64encode(signed.signature))
    with (directory / NAME).open("wb") as file:
        file.write(offer.manifest)
        file.flush()
        os.fsync(file.fileno())


def feed_remotes(engine: Engine, policy: StorePolicy, progress: Progress) -> int:
    """Gives every remote the engine; what fails is a line. Returns how many have it now."""
    fed = 0
    for address in policy.remotes:
        try:
            push(engine, address, policy, progress)
        except RemoteError as error:
            progress.note(f"warning: the engine could not be pushed to {address}: {error}")
        else:
            progress.note(f"pushed the engine {engine.manifest.key} to {address}")
            fed += 1
    return fed


def push(engine: Engine, address: str, policy: StorePolicy, progress: Progress) -> None:
    """RemoteError where it cannot be kept there."""
    key = engine.manifest.key
    offer = offered(engine.directory, policy)
    remote: Remote = open_remote(address)
    remote.put(key, engine.directory, offer, progress)
    sign_there = getattr(remote, "sign", None)
    if sign_there is not None and policy.private_key is not None:
        sign_there(key, lambda payload: sign(policy.private_key, payload))


def offered(directory: Path, policy: StorePolicy) -> Offer:
    """What goes out with an engine: its engine.json, signed by our key, else with the signature it came with."""
    manifest = (directory / NAME).read_bytes()
    if policy.private_key is not None:
        return Offer(manifest, (Signed(manifest, sign(policy.private_key, manifest)),))
    with contextlib.suppress(FileNotFoundError):
        return Offer(manifest, (Signed(manifest, base64.b64decode((directory / SIGNATURE).read_bytes())),))
    return Offer(manifest)
