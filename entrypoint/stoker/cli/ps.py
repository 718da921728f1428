"""`stoker ps`: the servers of this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from stoker.cli.arguments import command_parser, parse
from stoker.cli.tables import duration, table
from stoker.servers.endpoint import key_of
from stoker.servers.found import Running, running_servers

_DESCRIPTION = "List the servers of this machine that this user runs. `stoker status` lists those in containers."
_NONE = "no server runs here; `stoker serve MODEL` starts one, `stoker status` lists those in containers\n"


def run(arguments: Sequence[str]) -> int:
    parser = command_parser("ps", _DESCRIPTION, like="doctor", without=("model", "cache", "offline"))
    parser.add_argument("--api-key", metavar="KEY", help="key of the servers; better given as STOKER_API_KEY")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options, settings = parse(parser, arguments)
    found = running_servers(key_of(settings))
    sys.stdout.write(_document(found) if options.json else _shown(found))
    return 0


def _shown(found: Sequence[Running]) -> str:
    rows = [
        (", ".join(each.models) or "-", each.phase, each.endpoint.url, str(each.pid), duration(each.elapsed_seconds))
        for each in found
    ]
    return table([("MODEL", "STATE", "ADDRESS", "PID", "UP"), *rows]) if rows else _NONE


def _document(found: Sequence[Running]) -> str:
    rows = [
        {
            "models": list(each.models),
            "state": each.phase,
            "url": each.endpoint.url,
            "pid": each.pid,
            "elapsed_seconds": each.elapsed_seconds,
        }
        for each in found
    ]
    return json.dumps(rows, indent=2) + "\n"
