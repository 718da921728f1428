"""`stoker up MODEL`: serves it in a container of this host."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from stoker.cli.arguments import Parser, command_parser, parse
from stoker.cli.manifest import plan_deployment
from stoker.cli.progress import listener
from stoker.cli.warnings import show_warnings
from stoker.containers.connection import connect
from stoker.containers.files import handed
from stoker.containers.start import find_or_pull, start
from stoker.containers.wanted import Place, container_options, gpu_options, volume_or_directory
from stoker.containers.watch import wait_ready
from stoker.deploy.given import given_flags
from stoker.errors import UsageError
from stoker.logs import resolved_format, set_up_logging
from stoker.settings.layers import Settings

_DESCRIPTION = "Serve MODEL in a container of this host, with Docker or podman, and wait until it is ready."


def run(arguments: Sequence[str]) -> int:
    options, settings = parse(_parser(), arguments)
    log_format = resolved_format(settings.log_format)
    set_up_logging(log_format, settings.log_level)
    show_warnings(settings)
    place, files = _place(settings, options.volume, options.network), handed(settings)
    connection = connect()
    progress = listener(log_format)
    server = plan_deployment(settings, None)
    find_or_pull(connection, server.image, progress)
    keys = {"STOKER_API_KEY": str(settings["api-key"].value)} if settings.is_given("api-key") else {}
    arguments = given_flags(settings, "up", files.values)
    wanted = container_options(server, arguments, place, os.environ | keys, files.mounts)
    container = start(connection, wanted | gpu_options(server, is_podman=connection.is_podman), place)
    progress.note(f"container {container.name} of {server.image}; `stoker down` stops it")
    wait_ready(container, place.watch_url, progress)
    sys.stdout.write(f"{place.url}\n")
    return 0


def _place(settings: Settings, volume: str, network: str) -> Place:
    """UsageError for what `stoker up` could not publish, or not see."""
    management = settings["management-port"].value
    if settings.port == 0 or management == 0:
        name = "management-port" if management == 0 else "port"
        raise UsageError("`stoker up` needs a port to publish", remedy=f"name one with --{name}")
    if settings["tls-client-ca"].value and management is None:
        why = "without a client's certificate, `stoker up` and `status` cannot ask the API how it is"
        raise UsageError(
            "--tls-client-ca needs --management-port", why=why, remedy="name a port for health and metrics"
        )
    own = (str(settings["management-host"].value or settings.host), management) if management else None
    tls = settings["tls-cert"].value is not None
    return Place(settings.host, settings.port, volume_or_directory(volume), network, tls, own)


def _parser() -> Parser:
    parser = command_parser("up", _DESCRIPTION)
    parser.add_argument("--volume", metavar="NAME", default="stoker", help="volume or directory of the cache")
    parser.add_argument("--network", metavar="NAME", default="", help="network of the container: host, or its name")
    return parser
