"""Engines of the store from which a build may take what they compiled."""

from __future__ import annotations

from stoker.store.engine import Engine, Manifest
from stoker.store.key import digest_of
from stoker.store.store import Store
from stoker.store.trust import built_here


def engines_alike(store: Store, manifest: Manifest) -> tuple[str, ...]:
    """Directories of engines of the same kind that were built here, with the same versions and for the same hardware;
    the one that was used last comes first. None from elsewhere: what they have would then count as built here."""
    found = [each for _, each in store.list() if isinstance(each, Engine) and _same(each.manifest, manifest)]
    found = [each for each in found if built_here(each)]
    return tuple(str(each.directory) for each in sorted(found, key=_used, reverse=True))


def _same(one: Manifest, other: Manifest) -> bool:
    return _makers(one) == _makers(other)


def _makers(manifest: Manifest) -> str:
    """A digest, since what was read back from engine.json has lists where a plan has tuples."""
    hardware = manifest.inputs.get("hardware")
    if isinstance(hardware, dict):
        hardware = {name: _distinct(value) for name, value in hardware.items()}
    return digest_of({"kind": manifest.kind, "versions": manifest.versions, "hardware": hardware})


def _distinct(value: object) -> object:
    """How many GPUs there are of a kind is nothing to what is compiled for each."""
    return sorted({digest_of({"": each}) for each in value}) if isinstance(value, list | tuple) else value


def _used(engine: Engine) -> float:
    try:
        return engine.directory.stat().st_mtime
    except FileNotFoundError:
        return 0.0
