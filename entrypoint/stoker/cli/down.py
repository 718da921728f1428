"""`stoker down [MODEL]`: stops what `stoker up` started."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from stoker.cli.arguments import command_parser
from stoker.containers.connection import connect
from stoker.containers.listing import take_down


def run(arguments: Sequence[str]) -> int:
    parser = command_parser("down", "Stop the containers that `stoker up` started. The cache stays.")
    parser.add_argument("model", metavar="MODEL", nargs="?", default="", help="only this one; by its name in the API")
    options = parser.parse_args(list(arguments))
    for model in take_down(connect(), options.model):
        sys.stdout.write(f"{model} is down\n")
    return 0
