"""`stoker engines list`: what the cache holds."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from stoker.cli.arguments import command_parser, parse
from stoker.store.engine import Engine
from stoker.store.manifest import UnusableEngineError
from stoker.store.store import Store


def run(arguments: Sequence[str]) -> int:
    parser = command_parser("engines", "List the engines in the cache.")
    parser.add_argument("action", choices=("list",), help="what to do")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options, settings = parse(parser, arguments)
    rows = [_row(key, entry) for key, entry in Store(settings.cache).list()]
    sys.stdout.write(json.dumps(rows, indent=2) + "\n" if options.json else _table(rows))
    return 0


def _row(key: str, entry: Engine | UnusableEngineError) -> dict[str, Any]:
    if isinstance(entry, UnusableEngineError):
        return {"key": key, "model": "", "engine": "", "precision": "", "bytes": 0, "fault": str(entry)}
    manifest = entry.manifest
    return {
        "key": key,
        "model": manifest.served_name,
        "engine": manifest.kind,
        "precision": manifest.chosen["precision"],
        "bytes": sum(file.size for file in manifest.files),
        "fault": "",
    }


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "no engines yet; `stoker build MODEL` makes one\n"
    width = max(len(row["key"]) for row in rows)
    return "".join(f"{row['key']:<{width}}  {_size(row)}\n" for row in rows)


def _size(row: dict[str, Any]) -> str:
    return f"cannot be used: {row['fault']}" if row["fault"] else f"{row['bytes'] / 1e6:,.1f} MB"
