"""`stoker rm NAME...`: deletes models with their engines, or single engines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from stoker.cli.arguments import command_parser, parse
from stoker.cli.tables import counted, disk_size
from stoker.errors import CacheError, UsageError
from stoker.nearest import nearest
from stoker.resolve.kept import delete_model, kept_models
from stoker.store.inventory import IN_USE, Item, inventory, items_of
from stoker.store.store import Store

_DESCRIPTION = "Delete models with their engines, or single engines by their keys. What a server uses stays."


def run(arguments: Sequence[str]) -> int:
    parser = command_parser("rm", _DESCRIPTION, like="doctor", without=("model", "offline"))
    parser.add_argument("names", nargs="+", metavar="NAME", help="a model or an engine's key, as `stoker list` has it")
    parser.add_argument("--keep-engines", action="store_true", help="delete the model's files alone")
    parser.add_argument("--dry-run", action="store_true", help="say what would be deleted, and delete nothing")
    options, settings = parse(parser, arguments)
    store = Store(settings.cache)
    items = chosen_items(inventory(store), options.names, keep_engines=options.keep_engines)
    for item in items:
        if not options.dry_run:
            delete(store, item)
        sys.stdout.write(f"{item.key or item.model}  {disk_size(item.bytes)}\n")
    verb = "would be deleted" if options.dry_run else "deleted"
    total = disk_size(sum(item.bytes for item in items))
    sys.stdout.write(f"{counted(len(items), 'item')} {verb}, {total}\n")
    return 0


def chosen_items(known: Sequence[Item], names: Sequence[str], *, keep_engines: bool = False) -> list[Item]:
    """All or nothing: UsageError for a name that is not known, and where one of them is in use."""
    found: dict[tuple[str, str], Item] = {}
    for name in names:
        items = items_of(known, name.removeprefix("hf://"))
        if not items:
            raise _unknown(name, known)
        found |= {(item.model, item.key): item for item in items if not (keep_engines and item.key)}
    for item in found.values():
        if item.state == IN_USE:
            why = "a server of this cache uses it"
            raise UsageError(f"{item.key} is in use", why=why, remedy="stop the server: `stoker ps` lists them")
    return list(found.values())


def _unknown(name: str, known: Sequence[Item]) -> UsageError:
    near = nearest(name, {each for item in known for each in (item.key, item.model) if each})
    remedy = f"did you mean {near}?" if near else "`stoker list` shows what there is"
    return UsageError(f"the cache has no model or engine called {name}", remedy=remedy)


def delete(store: Store, item: Item) -> None:
    """UsageError where someone has begun to use the engine meanwhile, CacheError where nothing can be deleted."""
    try:
        if not item.key:
            _delete_files(store.cache / "models", item.model)
        elif not store.discard(item.key):
            raise UsageError(f"{item.key} is in use", remedy="stop the server: `stoker ps` lists them")
    except OSError as error:
        raise CacheError(f"cannot delete {item.key or item.model}", why=error.strerror or str(error)) from error


def _delete_files(models: Path, name: str) -> None:
    for kept in kept_models(models):
        if kept.name == name:
            delete_model(models, kept)
