"""The API's processes, as the settings and the plan have them."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.errors import UsageError
from stoker.logs import resolved_format
from stoker.serve.http.connections import Connections
from stoker.serve.operate.service import Service
from stoker.settings.layers import Settings
from stoker.workers.orders import Start

if TYPE_CHECKING:
    from stoker.workers.crew import Crew


def in_process(settings: Settings) -> bool:
    """Whether the server's own process is the API's only one."""
    return bool(settings["api-workers"].value == 1)


def crew_of(settings: Settings, service: Service, bound: socket.socket, connections: Connections) -> Crew:
    """As many processes as are asked for; one at first where the plan is to say how many. UsageError beside what only a
    single process keeps right."""
    from stoker.workers.crew import Crew

    if settings["dynamo"].value:
        raise UsageError(
            "--api-workers and --dynamo contradict each other",
            why="Dynamo's router needs the cache events of one process that has all requests",
            remedy="leave --api-workers out; Dynamo's frontend scales by itself",
        )
    return Crew(int(settings["api-workers"].value or 1), start_of(settings, service), service, bound, connections)


def start_of(settings: Settings, service: Service) -> Start:
    exposure = service.exposure
    return Start(
        worker=0,
        limits=service.limits,
        keys={},
        cors_origins=exposure.cors_origins,
        allowed_hosts=exposure.allowed_hosts,
        trusted_proxies=tuple(map(str, exposure.trusted_proxies)),
        management_apart=exposure.management_apart,
        log_prompts=exposure.log_prompts,
        reject_unknown=service.reject_unknown,
        keeps_responses=service.responses is not None,
        keep_alive=float(settings["keep-alive"].value),
        otlp=str(settings["otlp-endpoint"].value or ""),
        log_format=resolved_format(settings.log_format),
        log_level=settings.log_level,
        counted=Path(),
        tls=_tls(settings),
    )


def _tls(settings: Settings) -> tuple[Path, Path, Path | None] | None:
    certificate: Path | None = settings["tls-cert"].value
    if certificate is None:
        return None
    return certificate, settings["tls-key"].value or certificate, settings["tls-client-ca"].value
