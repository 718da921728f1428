"""What `stoker up` asks of the container engine: pure, from the plan and the user's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.containers.files import NO_MOUNTS, Mounts
from stoker.deploy.types import CACHE, MEMLOCK, PORT, STACK, Deployment
from stoker.errors import UsageError

LABEL = "io.stoker.model"
URL_LABEL = "io.stoker.url"
WATCH_LABEL = "io.stoker.watch-url"
GRACE_LABEL = "io.stoker.grace-seconds"
_OF_REMOTES = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "REGION", "DEFAULT_REGION", "ENDPOINT_URL")
PASSED_ON = (
    *("HF_TOKEN", "HF_ENDPOINT", "STOKER_API_KEY", "COSIGN_PASSWORD"),
    *(f"AWS_{name}" for name in _OF_REMOTES),
)
"""Variables that reach the server when they are set here."""


@dataclass(frozen=True)
class Place:
    """Where the server is reached: an address and a port of this host. `network` is empty for the engine's default.
    `management`: address and port that are the operators' own."""

    host: str
    port: int
    volume: str
    network: str = ""
    tls: bool = False
    management: tuple[str, int] | None = None

    @property
    def url(self) -> str:
        return _url("https" if self.tls else "http", self.host, self.port)

    @property
    def watch_url(self) -> str:
        """Where its health is asked for: without TLS where possible."""
        return _url("http", *self.management) if self.management else self.url

    @property
    def own_flags(self) -> tuple[str, ...]:
        """On the host's network the server itself takes the addresses."""
        management = (f"--management-host={self.management[0]}",) if self.management else ()
        return (f"--host={self.host}", f"--port={self.port}", *management)

    @property
    def published(self) -> dict[str, tuple[str, int]]:
        own = {f"{PORT}/tcp": (self.host, self.port)}
        return own | ({f"{self.management[1]}/tcp": self.management} if self.management else {})


def _url(scheme: str, host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104
    return f"{scheme}://[{shown}]:{port}" if ":" in shown else f"{scheme}://{shown}:{port}"


def volume_or_directory(text: str) -> str:
    """A name is kept, a path becomes absolute. UsageError where it does not exist: Docker would make it root's."""
    if "/" not in text and not text.startswith((".", "~")):
        return text
    path = Path(text).expanduser().absolute()
    if not path.is_dir():
        why = "its owner should be one whom the server may write as: user 1000, or group 0"
        raise UsageError(f"--volume {text}: there is no such directory", why=why, remedy="make it, or name a volume")
    return str(path)


def container_options(
    server: Deployment, arguments: tuple[str, ...], place: Place, environ: Mapping[str, str], mounts: Mounts = NO_MOUNTS
) -> dict[str, Any]:
    """Arguments of docker.containers.create, without GPUs. `mounts`: of what the arguments name."""
    on_host = place.network == "host"
    own = place.own_flags if on_host else ()
    options: dict[str, Any] = {
        "image": server.image,
        "name": server.name,
        "command": [server.arguments[0], *arguments, *own],
        "environment": {name: environ[name] for name in PASSED_ON if environ.get(name)},
        "labels": {
            LABEL: server.plan.model.served_name,
            URL_LABEL: place.url,
            WATCH_LABEL: place.watch_url,
            GRACE_LABEL: str(server.sizing.grace.value),
        },
        "volumes": {**_mounts(server, place), **mounts},
        "shm_size": server.sizing.shared_memory.value,
        "read_only": True,
        "tmpfs": {"/tmp": ""},  # noqa: S108
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
    }
    if place.network:
        options["network_mode"] = place.network
    return options if on_host else {**options, "ports": place.published}


def _mounts(server: Deployment, place: Place) -> dict[str, dict[str, str]]:
    mounts = {place.volume: {"bind": CACHE, "mode": "rw"}}
    if server.directory:
        mounts[server.directory] = {"bind": server.arguments[0], "mode": "ro"}
    return mounts


def gpu_options(server: Deployment, *, is_podman: bool) -> dict[str, Any]:
    """Docker knows GPUs by their uuid through NVIDIA's runtime, podman by the names of CDI."""
    chosen = server.plan.all_devices
    if not chosen:
        return {}
    import docker.types

    uuids = [gpu.uuid for gpu in server.plan.machine.gpus if gpu.index in chosen]
    if is_podman:
        names = [f"nvidia.com/gpu={uuid}" for uuid in uuids]
        request = docker.types.DeviceRequest(driver="cdi", device_ids=names)
    else:
        request = docker.types.DeviceRequest(device_ids=uuids, capabilities=[["gpu"]])
    limits = [docker.types.Ulimit(name="memlock", soft=MEMLOCK, hard=MEMLOCK)]
    limits.append(docker.types.Ulimit(name="stack", soft=STACK, hard=STACK))
    return {"device_requests": [request], "ulimits": limits}
