"""`stoker serve [MODEL]`: the whole way through, from a model name to a served API and its end."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.cli.arguments import command_parser, parse
from stoker.cli.logs import resolved_format, set_up_logging
from stoker.cli.warnings import show_warnings


def run(arguments: Sequence[str]) -> int:
    parser = command_parser("serve", "Plan, build or find the engine for MODEL, and serve it until told to stop.")
    _, settings = parse(parser, arguments)
    set_up_logging(resolved_format(settings.log_format), settings.log_level)
    show_warnings(settings)

    from stoker.cli.server import run_server

    return run_server(settings, reread=lambda: parse(parser, arguments)[1])
