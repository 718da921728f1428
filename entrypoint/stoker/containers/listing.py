"""The servers of this host that `stoker up` started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from stoker.containers.connection import Connection, asked
from stoker.containers.wanted import GRACE_LABEL, LABEL, URL_LABEL, WATCH_LABEL
from stoker.containers.watch import startup_report
from stoker.errors import ContainerError

if TYPE_CHECKING:
    from docker.models.containers import Container


@dataclass(frozen=True)
class Row:
    """`state`: the container's, or the server's phase while it runs. `replicas`: the state of each, `api_workers` that
    of each API process, where there are several. `adapters`: how many are served beside the model."""

    model: str
    container: str
    state: str
    url: str
    image: str
    replicas: tuple[str, ...] = ()
    adapters: int = 0
    api_workers: tuple[str, ...] = ()


def ours(connection: Connection, model: str = "") -> Sequence[Container]:
    """All of them, or those of one model; also those that have ended."""
    label = f"{LABEL}={model}" if model else LABEL
    with asked("list its containers"):
        found: list[Container] = connection.client.containers.list(all=True, filters={"label": label})
    return sorted(found, key=lambda container: str(container.name))


def rows(connection: Connection, model: str = "") -> list[Row]:
    return [_row(container) for container in ours(connection, model)]


def _row(container: Container) -> Row:
    url = container.labels.get(URL_LABEL, "")
    state, report = str(container.status), None
    if state == "running":
        report = startup_report(container.labels.get(WATCH_LABEL, url))
        state = _phase(report) if report else "not answering"
    told = report or {}
    image = str(container.attrs["Config"]["Image"])
    replicas, workers = (tuple(told.get(name, ())) for name in ("replicas", "api_workers"))
    adapters = int(told.get("adapters", 0))
    return Row(container.labels[LABEL], str(container.name), state, url, image, replicas, adapters, workers)


def _phase(report: dict[str, Any]) -> str:
    percent = report["percent"]
    return str(report["phase"]) + (f" {percent:g}%" if percent is not None else "")


def row_document(row: Row) -> dict[str, Any]:
    return asdict(row)


def take_down(connection: Connection, model: str = "") -> list[str]:
    """Stops and removes; requests in flight may finish. The cache stays. ContainerError where there is nothing."""
    containers = ours(connection, model)
    if not containers and model:
        up = ", ".join(sorted({one.labels[LABEL] for one in ours(connection)})) or "nothing"
        raise ContainerError(f"{model} is not up", why=f"up: {up}")
    for container in containers:
        with asked(f"stop the container {container.name}"):
            if container.status == "running":
                container.stop(timeout=int(container.labels.get(GRACE_LABEL, "60")))
            container.remove(v=True)  # volumes without a name; the cache has one
    return [container.labels[LABEL] for container in containers]
