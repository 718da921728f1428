"""What the cache holds, models and engines together: sizes, last use, and what is in use or unusable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stoker.resolve.kept import KeptModel, kept_models
from stoker.store.engine import Engine
from stoker.store.eviction import Stored, stored_engines
from stoker.store.manifest import UnusableEngineError
from stoker.store.store import Store

IN_USE, DAMAGED, INCOMPLETE = "in use", "damaged", "incomplete"


@dataclass(frozen=True)
class Item:
    """`model` is the name that both a model's files and its engines go by; `key` of an engine, empty for a model's
    files. `what` in words. `used` in seconds since the epoch. `state`: one of those above, or empty."""

    model: str
    key: str
    what: str
    bytes: int
    used: float
    state: str


def inventory(store: Store) -> list[Item]:
    """By model: its files, then its engines."""
    stored = {each.key: each for each in stored_engines(store)}
    engines = [_engine(store, stored[key], found) for key, found in store.list() if key in stored]
    models = [_model(each) for each in kept_models(store.cache / "models")]
    return sorted([*models, *engines], key=lambda item: (item.model == "", item.model, item.key))


def _model(kept: KeptModel) -> Item:
    return Item(kept.name, "", "model files", kept.bytes, kept.used, INCOMPLETE if kept.partial else "")


def _engine(store: Store, stored: Stored, found: Engine | UnusableEngineError) -> Item:
    if isinstance(found, UnusableEngineError):
        return Item("", stored.key, "unusable engine", stored.bytes, stored.used, DAMAGED)
    manifest = found.manifest
    state = IN_USE if store.is_used(stored.key) else ""
    what = f"engine: {manifest.kind} {manifest.chosen['precision']}"
    return Item(manifest.served_name, stored.key, what, stored.bytes, stored.used, state)


def items_of(items: Iterable[Item], name: str) -> list[Item]:
    """Those of a model with its engines, or the engine of that key."""
    return [item for item in items if name in (item.key, item.model) and name]
