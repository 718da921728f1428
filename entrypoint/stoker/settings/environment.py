"""The `STOKER_*` variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stoker.child_environment import PASSED_ON
from stoker.nearest import nearest
from stoker.settings.service_links import is_service_address, is_service_link
from stoker.settings.spec import SETTINGS

_PREFIX = "STOKER_"
_VARIABLES = (*(setting.variable for setting in SETTINGS), PASSED_ON)
_INTERPRETER = re.compile(r"STOKER_\w+_PYTHON")  # of another environment: an engine kind's, or Dynamo's

# What a Kubernetes LeaderWorkerSet tells each pod of a group.
_GROUP = {"nodes": "LWS_GROUP_SIZE", "node-rank": "LWS_WORKER_INDEX", "leader": "LWS_LEADER_ADDRESS"}


@dataclass(frozen=True)
class Given:
    """What a variable says."""

    variable: str
    text: str


def given(environ: Mapping[str, str]) -> dict[str, Given]:
    """By the setting's name, for the variables that are set to something."""
    variables = {setting.name: setting.variable for setting in SETTINGS}
    own = {name: Given(variable, environ.get(variable, "").strip()) for name, variable in variables.items()}
    if is_service_address(own["port"].text):
        del own["port"]
    group = {name: Given(variable, environ.get(variable, "").strip()) for name, variable in _GROUP.items()}
    return {name: one for values in (group, own) for name, one in values.items() if one.text}


def warnings(environ: Mapping[str, str]) -> Iterator[str]:
    """One line for each variable that is ours by name and means nothing to us."""
    for name in sorted(name for name in environ if name.startswith(_PREFIX)):
        if name == "STOKER_PORT" and is_service_address(environ[name]):
            yield f"{name}={environ[name]} comes from a Kubernetes Service named stoker, and is ignored"
        elif not (name in _VARIABLES or _INTERPRETER.fullmatch(name) or is_service_link(name, environ[name])):
            guess = nearest(name.removeprefix(_PREFIX), (known.removeprefix(_PREFIX) for known in _VARIABLES))
            yield f"unknown variable {name} is ignored" + (f": did you mean {_PREFIX}{guess}?" if guess else "")
