"""The `STOKER_*` variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from stoker.child_environment import PASSED_ON
from stoker.nearest import nearest
from stoker.settings.spec import SETTINGS

_PREFIX = "STOKER_"
_VARIABLES = (*(setting.variable for setting in SETTINGS), PASSED_ON)
# Kubernetes gives every container variables for each Service of its namespace, so that one named `stoker` or
# `stoker-x` sets STOKER_PORT=tcp://10.0.0.1:8000, STOKER_SERVICE_HOST, STOKER_X_PORT_8000_TCP_ADDR and more.
_SERVICE_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://")
_SERVICE_LINK_NAME = re.compile(r"STOKER_(\w+_)?(SERVICE_(HOST|PORT)|PORT_[0-9]+_(TCP|UDP|SCTP))(_\w+)?")


def given(environ: Mapping[str, str]) -> dict[str, str]:
    """Setting name -> text, for the variables that are set to something."""
    values = {setting.name: environ.get(setting.variable, "").strip() for setting in SETTINGS}
    if _SERVICE_LINK_VALUE.match(values["port"]):
        del values["port"]
    return {name: text for name, text in values.items() if text}


def warnings(environ: Mapping[str, str]) -> Iterator[str]:
    """One line for each variable that is ours by name and means nothing to us."""
    for name in sorted(name for name in environ if name.startswith(_PREFIX)):
        if name == "STOKER_PORT" and _SERVICE_LINK_VALUE.match(environ[name]):
            yield f"{name}={environ[name]} comes from a Kubernetes Service named stoker, and is ignored"
        elif name not in _VARIABLES and not _is_service_link(name, environ[name]):
            guess = nearest(name.removeprefix(_PREFIX), (known.removeprefix(_PREFIX) for known in _VARIABLES))
            yield f"unknown variable {name} is ignored" + (f": did you mean {_PREFIX}{guess}?" if guess else "")


def _is_service_link(name: str, text: str) -> bool:
    return bool(_SERVICE_LINK_NAME.fullmatch(name) or _SERVICE_LINK_VALUE.match(text))
