"""Loaded by every Python process of a test: writes down each attempt to reach another machine."""

import os
import sys


def _record(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.getaddrinfo" or (event == "socket.connect" and isinstance(arguments[1], tuple)):
        with open(os.environ["RECORDED_CONNECTIONS"], "a") as file:  # noqa: PTH123
            file.write(f"{event} {arguments} {sys.argv}\n")


sys.addaudithook(_record)
