"""`stoker health`: asks a server on this machine whether it takes requests; what the images' HEALTHCHECK runs."""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Sequence
from contextlib import closing

from stoker.errors import UsageError

_PATIENCE_SECONDS = 4


def run(arguments: Sequence[str]) -> int:
    """0 when ready, 1 when not. Reads STOKER_PORT by itself: the table of settings would double what a call costs."""
    port = _port(list(arguments), os.environ.get("STOKER_PORT", ""))
    ready, state = _ask(port)
    sys.stdout.write(f"{state}\n")
    return 0 if ready else 1


def _port(arguments: list[str], variable: str) -> int:
    if arguments in (["-h"], ["--help"]):
        sys.stdout.write(
            "usage: stoker health [--port PORT]\n\nIs the server on this machine ready? 0 if so, else 1.\n"
        )
        sys.exit(0)
    if arguments and (len(arguments) != 2 or arguments[0] != "--port"):
        raise UsageError(f"stoker health does not take {' '.join(arguments)}", remedy="stoker health [--port PORT]")
    given = arguments[1] if arguments else variable.strip()
    if arguments and not given.isdecimal():
        raise UsageError(f"--port {given} is no port", remedy="name a number, as in --port 8000")
    return int(given) if given.isdecimal() else 8000  # a variable may be a Kubernetes Service's tcp://...


def _ask(port: int) -> tuple[bool, str]:
    """Whether it is ready, and a word on how it is."""
    try:
        try:
            return _asked(http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS))
        except (ConnectionResetError, http.client.HTTPException):  # it may speak TLS
            return _asked(_trusting(port))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        return False, f"no server answers on port {port}: {error}"


def _asked(connection: http.client.HTTPConnection) -> tuple[bool, str]:
    with closing(connection):
        connection.request("GET", "/v1/health/ready")
        answer = connection.getresponse()
        return answer.status == 200, str(json.loads(answer.read())["phase"])


def _trusting(port: int) -> http.client.HTTPSConnection:
    """This machine's own server, whatever name its certificate is for."""
    import ssl

    context = ssl._create_unverified_context()  # noqa: S323
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS, context=context)
