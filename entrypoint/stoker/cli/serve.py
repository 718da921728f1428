"""`stoker serve [MODEL]`: the whole way through, from a model name to a served API and its end."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from stoker.cli.arguments import command_parser, parse
from stoker.cli.exposed import exposure_warning
from stoker.cli.progress import listener
from stoker.cli.warnings import show_warnings
from stoker.logs import resolved_format, set_up_logging

_LOG = logging.getLogger("stoker")


def run(arguments: Sequence[str]) -> int:
    parser = command_parser("serve", "Plan, build or find the engine for MODEL, and serve it until stopped.")
    _, settings = parse(parser, arguments)
    set_up_logging(resolved_format(settings.log_format), settings.log_level)
    show_warnings(settings)
    if warning := exposure_warning(settings):
        _LOG.warning("%s", warning)

    def reload() -> None:
        """Of the settings, the log level takes effect."""
        _, now = parse(parser, arguments)
        set_up_logging(resolved_format(now.log_format), now.log_level)
        _LOG.info("reloaded the settings: the log level is %s", now.log_level)

    from stoker.life.follower import run_follower
    from stoker.life.machines import place_of
    from stoker.life.server import run_server

    told, place = listener(resolved_format(settings.log_format)), place_of(settings)
    return run_server(settings, told, reload) if place.leads else run_follower(settings, place, told)
