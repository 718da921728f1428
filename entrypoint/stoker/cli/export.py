"""`stoker export [MODEL] DIR`: the engine into a directory, with everything to serve it where there is no network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from stoker.cli.arguments import command_parser, parse
from stoker.cli.build import built_engine
from stoker.store.policy import policy_of
from stoker.store.transport import export_engine


def run(arguments: Sequence[str]) -> int:
    parser = command_parser("export", "Build or find the engine, and write it into DIR with all that serving it needs.")
    parser.add_argument("directory", metavar="DIR", type=Path, help="where to: an empty directory, or a new one")
    options, settings = parse(parser, arguments)
    target = export_engine(built_engine(settings), options.directory, policy_of(settings))
    sys.stdout.write(f"{target}\n")
    return 0
