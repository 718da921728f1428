"""`stoker up MODEL`: serves it in a container of this host."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from stoker.cli.arguments import Parser, command_parser, parse
from stoker.cli.logs import resolved_format, set_up_logging
from stoker.cli.manifest import plan_deployment
from stoker.cli.progress import listener
from stoker.cli.warnings import show_warnings
from stoker.containers.connection import connect
from stoker.containers.start import find_or_pull, start
from stoker.containers.wanted import Place, container_options, gpu_options, volume_or_directory
from stoker.containers.watch import wait_ready
from stoker.deploy.given import given_flags
from stoker.errors import UsageError

_DESCRIPTION = "Serve MODEL in a container of this host, with Docker or podman, and wait until it is ready."


def run(arguments: Sequence[str]) -> int:
    options, settings = parse(_parser(), arguments)
    log_format = resolved_format(settings.log_format)
    set_up_logging(log_format, settings.log_level)
    show_warnings(settings)
    if settings.port == 0:
        raise UsageError("`stoker up` needs a port to publish", remedy="name one with --port")
    connection = connect()
    progress = listener(log_format)
    server = plan_deployment(settings, None, image=options.image)
    find_or_pull(connection, server.image, progress)
    place = Place(settings.host, settings.port, volume_or_directory(options.volume), options.network)
    keys = {"STOKER_API_KEY": str(settings["api-key"].value)} if settings.is_given("api-key") else {}
    wanted = container_options(server, given_flags(settings, "up"), place, os.environ | keys)
    container = start(connection, wanted | gpu_options(server, is_podman=connection.is_podman), place)
    progress.note(f"container {container.name} of {server.image}; `stoker down` stops it")
    wait_ready(container, place.url, progress)
    sys.stdout.write(f"{place.url}\n")
    return 0


def _parser() -> Parser:
    parser = command_parser("up", _DESCRIPTION)
    parser.add_argument("--image", metavar="NAME", default="", help="default: stoker:cpu or stoker:nvidia, as planned")
    parser.add_argument("--volume", metavar="NAME", default="stoker", help="volume or directory of the cache")
    parser.add_argument("--network", metavar="NAME", default="", help="network of the container: host, or its name")
    return parser
