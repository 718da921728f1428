"""Finds or pulls the image, and starts the container."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from stoker.containers.connection import Connection, asked, said
from stoker.containers.wanted import LABEL, URL_LABEL, Place
from stoker.errors import ContainerError
from stoker.progress import Progress

if TYPE_CHECKING:
    from docker.models.containers import Container


def find_or_pull(connection: Connection, image: str, progress: Progress) -> None:
    """ContainerError where the image is neither here nor in a registry."""
    import docker.errors

    with asked(f"look for the image {image}"):
        if _is_here(connection, image):
            return
    progress.note(f"pulling {image}")
    try:
        connection.client.images.pull(image)
    except docker.errors.DockerException as error:
        raise ContainerError(
            f"there is no image {image}",
            why=f"not on this host, and it cannot be pulled: {said(error)}",
            remedy="`make image` in Stoker's sources makes it; or name another with --image",
        ) from error


def _is_here(connection: Connection, image: str) -> bool:
    import docker.errors

    try:
        connection.client.images.get(image)
    except docker.errors.ImageNotFound:
        return False
    return True


def start(connection: Connection, options: dict[str, Any], place: Place) -> Container:
    """The running container: a new one, or the one that does the same already. ContainerError."""
    if (running := _same(connection, options)) is not None:
        return running
    check_port(place)
    with asked(f"make the container {options['name']}"):
        container = connection.client.containers.create(**options)
    try:
        with asked(f"start the container {options['name']}"):
            container.start()
    except ContainerError:
        container.remove(force=True, v=True)
        raise
    return container


def _same(connection: Connection, options: dict[str, Any]) -> Container | None:
    """The running container of that name and order. One that has ended is removed; another order is an error."""
    found = _container(connection, options["name"])
    if found is None:
        return None
    if LABEL not in found.labels:
        raise ContainerError(
            f"there is a container {found.name} that is not Stoker's", remedy=f"rename or remove {found.name}"
        )
    if found.status != "running":
        found.remove(force=True, v=True)
        return None
    same = found.attrs["Config"]["Cmd"] == options["command"]
    if same and found.labels.get(URL_LABEL) == options["labels"][URL_LABEL]:
        return found
    model = options["labels"][LABEL]
    raise ContainerError(
        f"{model} is already up at {found.labels.get(URL_LABEL)} with other settings",
        remedy=f"`stoker down {model}` first",
    )


def _container(connection: Connection, name: str) -> Container | None:
    import docker.errors

    with asked(f"look for the container {name}"):
        try:
            return connection.client.containers.get(name)
        except docker.errors.NotFound:
            return None


def check_port(place: Place) -> None:
    """ContainerError where the port is taken: engines say so late and in many ways."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((place.host, place.port))
        except OSError as error:
            why = error.strerror or str(error)
            raise ContainerError(
                f"port {place.port} of {place.host} cannot be used", why=why.lower(), remedy="name another with --port"
            ) from error
