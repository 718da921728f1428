"""Which server a command talks to: the one that was named, one that runs here already, or one that it starts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stoker.containers.watch import Follower, startup_report
from stoker.errors import EngineError, ServerError
from stoker.progress import Progress
from stoker.servers.endpoint import Endpoint, endpoint_at
from stoker.servers.found import Running, running_servers
from stoker.servers.started import started_server

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Wanted:
    """`model` as the user named it, a URL of a server included, empty for any. `flags` for a server that is started;
    with any of them, none that runs already will do."""

    model: str
    flags: tuple[str, ...]
    key: str


@dataclass(frozen=True)
class Chosen:
    endpoint: Endpoint
    model: str
    started: bool


@contextlib.contextmanager
def server_for(wanted: Wanted, default_model: str, progress: Progress) -> Iterator[Chosen]:
    """A server that is ready. One that was started for this is stopped afterwards."""
    if wanted.model.startswith(("http://", "https://")):
        endpoint = endpoint_at(wanted.model, wanted.key)
        yield Chosen(endpoint, _model(endpoint), started=False)
    elif (running := _running(wanted)) is not None:
        _wait_ready(running, progress)
        yield Chosen(running.endpoint, _model(running.endpoint, served_name(wanted.model)), started=False)
    else:
        with started_server([wanted.model or default_model, *wanted.flags], progress) as url:
            endpoint = Endpoint(url, wanted.key)
            yield Chosen(endpoint, _model(endpoint), started=True)


def served_name(reference: str) -> str:
    """What a server calls the model unless told otherwise."""
    if reference.startswith((".", "/", "~")):
        return Path(reference).expanduser().absolute().name
    return reference.removeprefix("hf://")


def _running(wanted: Wanted) -> Running | None:
    if wanted.flags:
        return None
    found = running_servers(wanted.key)
    name = served_name(wanted.model)
    fitting = [each for each in found if not name or name in each.models]
    ready = [each for each in fitting if each.phase == "ready"]
    return next(iter([*ready, *fitting]), None)


def _wait_ready(running: Running, progress: Progress) -> None:
    if running.phase == "ready":
        return
    follower = Follower(progress)
    while report := startup_report(running.endpoint.url):
        if follower.follow(report):
            return
        if report["phase"] in ("failed", "draining"):
            break
        time.sleep(_POLL_SECONDS)
    raise EngineError(f"the server at {running.endpoint.url} ended before it was ready")


def _model(endpoint: Endpoint, name: str = "") -> str:
    """The one of that name where it is served, else the first."""
    models = endpoint.models()
    if not models:
        raise ServerError(f"{endpoint.url} serves no model yet", remedy="wait until it is ready")
    return name if name in models else models[0]
