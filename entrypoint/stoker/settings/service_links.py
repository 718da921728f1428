"""Variables that Kubernetes makes: every container gets some for each Service of its namespace, so that a Service named
`stoker` or `nim-server` sets STOKER_PORT=tcp://10.0.0.1:8000, NIM_SERVER_PORT, NIM_SERVER_SERVICE_HOST and more."""

from __future__ import annotations

import re

_VALUE = re.compile(r"(tcp|udp|sctp)://")
_NAME = re.compile(r"\w+_(SERVICE_(HOST|PORT)|PORT_[0-9]+_(TCP|UDP|SCTP))(_\w+)?")


def is_service_address(text: str) -> bool:
    """Whether the value can only be one of Kubernetes'."""
    return bool(_VALUE.match(text.strip()))


def is_service_link(name: str, text: str) -> bool:
    return bool(_NAME.fullmatch(name)) or is_service_address(text)
