"""`stoker status`: what `stoker up` started, and how it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from stoker.cli.arguments import command_parser
from stoker.cli.tables import counted, table
from stoker.containers.connection import connect
from stoker.containers.listing import Row, row_document, rows


def run(arguments: Sequence[str]) -> int:
    parser = command_parser("status", "List the containers that `stoker up` started.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(list(arguments))
    found = rows(connect())
    sys.stdout.write(
        json.dumps([row_document(row) for row in found], indent=2) + "\n" if options.json else _table(found)
    )
    return 0


def _state(row: Row) -> str:
    """With each replica and API process that is not like the server as a whole, and the adapters beside the model."""
    if row.state != "ready":
        return row.state
    parts = [row.state, _of("replicas", row.replicas), _of("API processes", row.api_workers)]
    if row.adapters:
        parts.append(counted(row.adapters, "adapter"))
    return ", ".join(filter(None, parts))


def _of(what: str, states: tuple[str, ...]) -> str:
    """Empty where there are not several."""
    if len(states) < 2:
        return ""
    others = [f"{number} {state}" for number, state in enumerate(states) if state != "ready"]
    ready = f"{len(states) - len(others)} of {len(states)} {what}"
    return f"{ready} ({', '.join(others)})" if others else ready


def _table(found: list[Row]) -> str:
    if not found:
        return "nothing is up; `stoker up MODEL` serves one\n"
    return table([(row.model, _state(row), row.url, row.container, row.image) for row in found])
