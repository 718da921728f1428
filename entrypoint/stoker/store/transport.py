"""Engines by hand: into a directory that can be carried where no network reaches, and back."""

from __future__ import annotations

import base64
import errno
import shutil
from pathlib import Path

from stoker.errors import DamagedEngineError, UsageError
from stoker.progress import Progress, Silent
from stoker.store.engine import Engine
from stoker.store.exported import finished_engine
from stoker.store.key import digest_of
from stoker.store.manifest import NAME, SIGNATURE, UnusableEngineError, check_digests
from stoker.store.obtain import found_usable
from stoker.store.policy import StorePolicy
from stoker.store.remotes.fetch import offered
from stoker.store.store import Store
from stoker.store.trust import Provenance, check_signature, check_trusted, signed_parts
from stoker.store.workspace import storage_error


def export_engine(engine: Engine, target: Path, policy: StorePolicy) -> Path:
    """Copies it, checks the copy, and writes engine.json last, so that half a copy is no engine.

    UsageError for a directory that holds something else; StorageError; DamagedEngineError.
    """
    _check_empty(target)
    try:
        check_trusted(engine, policy, Silent())
    except UnusableEngineError as fault:
        raise DamagedEngineError(f"the engine {engine.manifest.key} is refused", why=str(fault)) from fault
    try:
        _copy(engine, target, policy)
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise storage_error(error, target) from error
    return target


def _check_empty(target: Path) -> None:
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UsageError(f"{target} is not empty", why="an engine needs a directory of its own", remedy="name another")


def _copy(engine: Engine, target: Path, policy: StorePolicy) -> None:
    size = sum(file.size for file in engine.manifest.files)
    target.mkdir(parents=True, exist_ok=True)
    if size > shutil.disk_usage(target).free:
        raise OSError(errno.ENOSPC, f"the engine has {size / 1e9:.1f} GB")
    for file in engine.manifest.files:
        copy = target / file.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(engine.directory / file.path, copy)
    _check(Engine(target, engine.manifest))
    offer = offered(engine.directory, policy)
    for signed in offer.signed:
        (target / SIGNATURE).write_bytes(base64.b64encode(signed.signature))
    (target / NAME).write_bytes(offer.manifest)


def import_engine(store: Store, source: Path, policy: StorePolicy, progress: Progress) -> Engine:
    """Into the store, checked to the last byte and for its signature. The store's own engine wins if it has one."""
    engine = finished_engine(source.absolute())
    if engine is None:
        raise UsageError(f"{source} holds no engine", remedy="name a directory that `stoker export` wrote")
    key = engine.manifest.key
    if digest_of(engine.manifest.inputs) != key.rpartition("-")[2]:
        raise DamagedEngineError(
            f"the engine in {source} cannot be used", why=f"its key {key} is not that of its inputs"
        )
    with store.lease(key, progress) as lease:
        if found := found_usable(store, key, policy, progress):
            return found
        store.reserve(lease, sum(file.size for file in engine.manifest.files))
        with store.workspace(lease) as workspace:
            _copy(engine, workspace, StorePolicy())
            try:
                signed = signed_parts(workspace)
                check_signature((workspace / NAME).read_bytes(), signed, policy, progress, str(source))
            except UnusableEngineError as fault:
                raise DamagedEngineError(f"the engine in {source} is refused", why=str(fault)) from fault
            return store.adopt(workspace, engine.manifest, Provenance(str(source.absolute()), signed))


def _check(engine: Engine) -> None:
    try:
        check_digests(engine.directory, engine.manifest)
    except UnusableEngineError as fault:
        raise DamagedEngineError(
            "the engine is damaged", why=str(fault), remedy="run `stoker engines verify`, and build it again"
        ) from fault
