"""The `STOKER_*` variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stoker.child_environment import PASSED_ON
from stoker.nearest import nearest
from stoker.settings.service_links import is_service_address, is_service_link
from stoker.settings.spec import SETTINGS

_PREFIX = "STOKER_"
_VARIABLES = (*(setting.variable for setting in SETTINGS), PASSED_ON)


def given(environ: Mapping[str, str]) -> dict[str, str]:
    """Setting name -> text, for the variables that are set to something."""
    values = {setting.name: environ.get(setting.variable, "").strip() for setting in SETTINGS}
    if is_service_address(values["port"]):
        del values["port"]
    return {name: text for name, text in values.items() if text}


def warnings(environ: Mapping[str, str]) -> Iterator[str]:
    """One line for each variable that is ours by name and means nothing to us."""
    for name in sorted(name for name in environ if name.startswith(_PREFIX)):
        if name == "STOKER_PORT" and is_service_address(environ[name]):
            yield f"{name}={environ[name]} comes from a Kubernetes Service named stoker, and is ignored"
        elif name not in _VARIABLES and not is_service_link(name, environ[name]):
            guess = nearest(name.removeprefix(_PREFIX), (known.removeprefix(_PREFIX) for known in _VARIABLES))
            yield f"unknown variable {name} is ignored" + (f": did you mean {_PREFIX}{guess}?" if guess else "")
