"""`stoker health`: asks a server on this machine whether it takes requests; what the images' HEALTHCHECK runs."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from stoker.errors import UsageError
from stoker.json_text import parse_json
from stoker.listening import listeners

_PATIENCE_SECONDS = 4
_PORTS = ("STOKER_PORT", "NIM_SERVER_PORT", "NIM_HTTP_API_PORT")  # may be a Kubernetes Service's tcp://...
_USAGE = "usage: stoker health [--host ADDRESS] [--port PORT]"
_HELP = f"""{_USAGE}

Is the server on this machine ready? 0 if so, else 1. Without --host, the address is the one that a server listens on.
"""
# What a server that listens everywhere is asked at.
_OF_ALL = {"0.0.0.0": ("127.0.0.1",), "::": ("::1", "127.0.0.1"), "": ("127.0.0.1", "::1")}  # noqa: S104


@dataclass(frozen=True)
class _Place:
    """`host` is empty where none was named."""

    host: str
    port: int


def run(arguments: Sequence[str]) -> int:
    """0 when ready, 1 when not. Reads its variables by itself: the table of settings would double what a call costs."""
    place = _place(list(arguments))
    ready, state = _ask(place)
    sys.stdout.write(f"{state}\n")
    return 0 if ready else 1


def _place(arguments: list[str]) -> _Place:
    if arguments in (["-h"], ["--help"]):
        sys.stdout.write(_HELP)
        sys.exit(0)
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if len(arguments) % 2 or given.keys() - {"--host", "--port"}:
        raise UsageError(f"stoker health does not take {' '.join(arguments)}", remedy=_USAGE.partition(": ")[2])
    port = given["--port"] if "--port" in given else _port_of_variables()
    if not port.isdecimal():
        raise UsageError(f"--port {port} is not a port", remedy="name a number, as in --port 8000")
    return _Place(given.get("--host", ""), int(port))


def _port_of_variables() -> str:
    values = (os.environ.get(name, "").strip() for name in _PORTS)
    return next(filter(str.isdecimal, values), "8000")


def _hosts(place: _Place) -> list[str]:
    """What to ask, one after the other: the address named, else where a server listens, STOKER_HOST's first."""
    named = place.host or os.environ.get("STOKER_HOST", "").strip()
    found = [] if place.host else [each.address for each in listeners(place.port)]
    found.sort(key=lambda address: address != named)
    hosts = [host for each in found or [named] for host in _OF_ALL.get(each, (each,))]
    return list(dict.fromkeys(hosts))


def _ask(place: _Place) -> tuple[bool, str]:
    """Whether one is ready, and a word on how it is."""
    hosts = _hosts(place)
    for last, host in [*((False, host) for host in hosts[:-1]), (True, hosts[-1])]:
        try:
            return _answer(host, place.port)
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            if last:
                shown = f"[{host}]:{place.port}" if ":" in host else f"{host}:{place.port}"
                return False, f"no server answers on port {place.port} ({shown}): {error}"
    raise AssertionError("there is always a host to ask")


def _answer(host: str, port: int) -> tuple[bool, str]:
    try:
        return _asked(http.client.HTTPConnection(host, port, timeout=_PATIENCE_SECONDS))
    except (ConnectionResetError, http.client.HTTPException):  # it may speak TLS
        return _asked(_trusting(host, port))


def _asked(connection: http.client.HTTPConnection) -> tuple[bool, str]:
    with closing(connection):
        connection.request("GET", "/v1/health/ready")
        answer = connection.getresponse()
        return answer.status == 200, str(parse_json(answer.read())["phase"])


def _trusting(host: str, port: int) -> http.client.HTTPSConnection:
    """This machine's own server, whatever name its certificate is for."""
    import ssl

    context = ssl._create_unverified_context()  # noqa: S323
    return http.client.HTTPSConnection(host, port, timeout=_PATIENCE_SECONDS, context=context)
