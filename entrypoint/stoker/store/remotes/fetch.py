"""Engines from remotes and to them. A remote that is down, slow or wrong costs seconds and a line, never the start."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import threading
from pathlib import Path

from stoker.deadline import DeadlinePassedError, within
from stoker.errors import StokerError, StorageError
from stoker.progress import Progress
from stoker.redaction import redacted
from stoker.store.engine import Engine, Manifest
from stoker.store.key import digest_of
from stoker.store.lease import Lease
from stoker.store.manifest import NAME, SIGNATURE, UnusableEngineError, parse_manifest
from stoker.store.policy import StorePolicy
from stoker.store.remotes.address import open_remote
from stoker.store.remotes.remote import Offer, Remote, RemoteError, Signed
from stoker.store.remotes.transfer import Patience, Transfer
from stoker.store.signature import sign
from stoker.store.store import Store
from stoker.store.trust import Provenance, check_signature, check_trusted
from stoker.store.workspace import storage_error

# For a push: this long for each, and longer for engines that would need it at so many bytes a second.
_PUSH_SECONDS = 60.0
_SLOWEST_PUSH = 256 << 10


def fetch_from_remotes(
    store: Store,
    key: str,
    lease: Lease,
    policy: StorePolicy,
    progress: Progress,
    cancel: threading.Event,
    patience: Patience | None = None,
) -> Engine | None:
    """From the first remote that has it and is believed; what another offers and does not keep is a warning. UsageError
    for an address or a key of the user's that cannot be used; StoppedError."""
    for address in policy.remotes:
        place = redacted(address)
        try:
            engine = _fetch(store, key, lease, address, policy, progress, cancel, patience or Patience())
        except (RemoteError, UnusableEngineError, StorageError) as error:
            progress.note(f"warning: no engine from {place}: {redacted(error)}")
            continue
        if engine is not None:
            progress.note(f"fetched the engine {key} from {place}")
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
    patience: Patience,
) -> Engine | None:
    remote, offer = _offer(address, key, patience.offer)
    if offer is None:
        return None
    place = redacted(address)
    manifest = believed(offer, key, policy, progress, place)
    progress.phase("downloading", f"{key} from {place}")
    directory = store.partial / key
    try:
        store.reserve(lease, sum(file.size for file in manifest.files) - _arrived(directory))
        Transfer(remote, key, directory, progress, cancel, patience).run(manifest.files)
        _write_documents(directory, offer)
        return store.adopt(directory, manifest, Provenance(place, offer.signed))
    except OSError as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise storage_error(error, store.cache) from error
    except StorageError:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    finally:
        with contextlib.suppress(OSError):
            store.partial.rmdir()


def _offer(address: str, key: str, seconds: float) -> tuple[Remote, Offer | None]:
    """RemoteError for whatever goes wrong within: libraries meet answers there that nobody thought of."""

    def asked() -> tuple[Remote, Offer | None]:
        remote = open_remote(address)
        return remote, remote.offer(key)

    try:
        return within(seconds, asked)
    except (RemoteError, StokerError):
        raise
    except DeadlinePassedError as error:
        raise RemoteError(f"it does not answer within {seconds:g} s") from error
    except Exception as error:
        raise RemoteError(f"its answer makes no sense ({type(error).__name__}: {str(error)[:200]})") from error


def believed(offer: Offer, key: str, policy: StorePolicy, progress: Progress, place: str) -> Manifest:
    """UnusableEngineError for what is not the engine of that key, or not signed where it must be."""
    manifest = parse_manifest(offer.manifest)
    if manifest.key != key or digest_of(manifest.inputs) != key.rpartition("-")[2]:
        raise UnusableEngineError(f"its engine.json is not that of {key}")
    check_signature(offer.manifest, offer.signed, policy, progress, place)
    return manifest


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
        place = redacted(address)
        try:
            push(engine, address, policy, progress)
        except (RemoteError, UnusableEngineError) as error:
            progress.note(f"warning: the engine could not be pushed to {place}: {redacted(error)}")
        else:
            progress.note(f"pushed the engine {engine.manifest.key} to {place}")
            fed += 1
    return fed


def push(engine: Engine, address: str, policy: StorePolicy, progress: Progress) -> None:
    """RemoteError where it cannot be kept there, or not in the time that it may take; UnusableEngineError for one that
    the policy forbids to use, and so to sign and pass on."""
    check_trusted(engine, policy, progress)
    seconds = _PUSH_SECONDS + sum(file.size for file in engine.manifest.files) / _SLOWEST_PUSH
    try:
        within(seconds, lambda: _push(engine, address, policy, progress))
    except (RemoteError, StokerError):
        raise
    except DeadlinePassedError as error:
        raise RemoteError(f"it did not take the engine within {seconds:.0f} s") from error
    except Exception as error:
        raise RemoteError(f"its answer makes no sense ({type(error).__name__}: {str(error)[:200]})") from error


def _push(engine: Engine, address: str, policy: StorePolicy, progress: Progress) -> None:
    key, private_key = engine.manifest.key, policy.private_key
    remote: Remote = open_remote(address)
    remote.put(key, engine.directory, offered(engine.directory, policy), progress)
    sign_there = getattr(remote, "sign", None)
    if sign_there is not None and private_key is not None:
        sign_there(key, lambda payload: sign(private_key, payload))


def offered(directory: Path, policy: StorePolicy) -> Offer:
    """What goes out with an engine: its engine.json, signed by our key, else with the signature it came with."""
    manifest = (directory / NAME).read_bytes()
    if policy.private_key is not None:
        return Offer(manifest, (Signed(manifest, sign(policy.private_key, manifest)),))
    with contextlib.suppress(FileNotFoundError):
        return Offer(manifest, (Signed(manifest, base64.b64decode((directory / SIGNATURE).read_bytes())),))
    return Offer(manifest)
