"""The port of the API."""

from __future__ import annotations

import errno
import socket

from stoker.listening import address_of, shown
from stoker.probe.checks.check import Check


def check_port(host: str, port: int) -> Check:
    """Free, by taking it for a moment. Port 0 stands for any."""
    name, found = "port", shown(host, port)
    try:
        family, kind, protocol, address = address_of(host, port)
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        return Check(name, "failed", f"{found}: {error.strerror}", "choose another with --host")
    except OSError as error:
        return Check(name, "failed", f"{found}: {error.strerror}", _remedy(error.errno))
    return Check(name, "ok", f"{found} is free")


def _remedy(number: int | None) -> str:
    if number == errno.EADDRINUSE:
        return "stop the program that listens there, or choose another with --port"
    if number == errno.EACCES:
        return "ports below 1024 need privileges: choose another with --port"
    return "choose another with --host"
