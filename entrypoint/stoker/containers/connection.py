"""Finds this host's container engine: Docker, or podman's socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.errors import ContainerError, UsageError

if TYPE_CHECKING:
    import docker

_REMEDY = (
    "start Docker, or podman's socket (systemctl --user start podman.socket; without systemd: podman system service "
    "--time=0 &), or name the socket in DOCKER_HOST"
)
_FORBIDDEN = "join its group (sudo usermod -aG docker $USER, then log in again), or use podman without root"
_PATIENCE_SECONDS = 600  # an engine answers a pull when it is done


@dataclass(frozen=True)
class Connection:
    client: docker.DockerClient
    is_podman: bool


def connect(environ: Mapping[str, str] = os.environ) -> Connection:
    """The engine of DOCKER_HOST, else the first of the usual sockets that there is. ContainerError, UsageError."""
    given = environ.get("DOCKER_HOST", "")
    if given and not given.startswith("unix://"):
        raise UsageError(
            f"DOCKER_HOST={given} is another machine's",
            why="`stoker up` plans for the machine that it runs on",
            remedy="run it there, or write a manifest for that machine: stoker manifest docker MODEL --machine ...",
        )
    path = Path(given.removeprefix("unix://")) if given else next(filter(Path.exists, usual_sockets(environ)), None)
    if path is None:
        raise ContainerError(
            "no container engine was found", why="neither Docker's nor podman's socket", remedy=_REMEDY
        )
    return _open(path)


def usual_sockets(environ: Mapping[str, str]) -> Iterator[Path]:
    """Docker's, rootless Docker's, rootless podman's, podman's."""
    runtime = Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    yield Path("/var/run/docker.sock")
    yield runtime / "docker.sock"
    yield runtime / "podman" / "podman.sock"
    yield Path("/run/podman/podman.sock")


def _open(path: Path) -> Connection:
    import docker
    import docker.errors

    _check(path)
    try:
        client = docker.DockerClient(base_url=f"unix://{path}", timeout=_PATIENCE_SECONDS)
        components = client.version().get("Components") or []
    except docker.errors.DockerException as error:
        raise ContainerError(f"what answers at {path} is no container engine", why=said(error)) from error
    return Connection(client, any("podman" in str(one.get("Name", "")).lower() for one in components))


def _check(path: Path) -> None:
    """Says plainly what the client would wrap into layers of HTTP errors."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except PermissionError as error:
            raise ContainerError(f"{path} may not be used by this user", remedy=_FORBIDDEN) from error
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise ContainerError(f"nothing answers at {path}", why=why, remedy=_REMEDY) from error


@contextmanager
def asked(what: str) -> Iterator[None]:
    """A refusal of the engine becomes a ContainerError that says `what` could not be done."""
    import docker.errors

    try:
        yield
    except docker.errors.DockerException as error:
        raise ContainerError(f"the container engine cannot {what}", why=said(error)) from error


def said(error: Exception) -> str:
    """What the engine itself said."""
    return str(getattr(error, "explanation", None) or error).strip()
