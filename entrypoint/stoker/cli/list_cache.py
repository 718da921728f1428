"""`stoker list`: the models and engines that the cache holds."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from stoker.cli.arguments import command_parser, parse
from stoker.cli.tables import ago, counted, disk_size, table
from stoker.store.eviction import remains
from stoker.store.inventory import DAMAGED, IN_USE, Item, inventory
from stoker.store.store import Store
from stoker.store.workspace import size_of

_EMPTY = "the cache is empty; `stoker pull MODEL` fetches a model, `stoker serve MODEL` also builds its engine\n"


def run(arguments: Sequence[str]) -> int:
    parser = command_parser(
        "list", "List the models and engines in the cache.", like="doctor", without=("model", "offline")
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options, settings = parse(parser, arguments)
    store = Store(settings.cache)
    items = inventory(store)
    if options.json:
        sys.stdout.write(json.dumps([asdict(item) for item in items], indent=2) + "\n")
    else:
        sys.stdout.write(_shown(store, items))
    return 0


def _shown(store: Store, items: Sequence[Item]) -> str:
    rows = [(_name(item), item.what, disk_size(item.bytes), ago(item.used), item.state) for item in items]
    text = table([("NAME", "WHAT", "SIZE", "LAST USE", "STATE"), *rows]) if rows else _EMPTY
    return text + "".join(f"{line}\n" for line in _totals(store, items))


def _name(item: Item) -> str:
    """Engines are named by their keys, under their models."""
    return item.key or item.model


def _totals(store: Store, items: Sequence[Item]) -> list[str]:
    """What all take, and what can go. An engine may share its weights with the model's files, by hard links."""
    if not items:
        return []
    free = [item for item in items if item.state != IN_USE]
    size, used = disk_size(sum(item.bytes for item in free)), len(items) - len(free)
    lines = ["", f"{counted(used, 'item')} in use; `stoker rm NAME` deletes any of the others ({size})"]
    damaged = [item.bytes for item in items if item.state == DAMAGED]
    rest = sum(map(size_of, remains(store))) + sum(damaged)
    if rest:
        lines.append(f"`stoker engines prune` frees {disk_size(rest)}: damaged engines and interrupted transfers")
    return lines
