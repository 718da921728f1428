"""What the server listens on, bound before any work is done: the API's port, and the operators' where there is one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from stoker.life.late import LateApp, engine_comes
from stoker.life.service import tls_of
from stoker.life.workers import crew_of, in_process
from stoker.listening import shown
from stoker.serve.http.asgi import App
from stoker.serve.http.connections import Connections, raise_descriptor_limit, room
from stoker.serve.http.server import HttpServer, bind
from stoker.serve.operate.service import Service
from stoker.settings.layers import Settings

if TYPE_CHECKING:
    from stoker.workers.crew import Crew


def _api(service: Service) -> App:
    from stoker.serve.http.app import create_app

    return create_app(service)


def _management(service: Service) -> App:
    from stoker.serve.http.app import create_management_app

    return create_management_app(service)


class Listeners(AbstractContextManager["Listeners"]):
    """UsageError for a port that is not available or TLS files that cannot be used."""

    def __init__(self, settings: Settings, service: Service) -> None:
        self._host = settings.host
        self._lifecycle = service.lifecycle
        self._late: list[LateApp] = []
        self._making: asyncio.Future[None] | None = None
        self._sockets = ExitStack()
        tls = tls_of(settings)
        self._scheme = "https" if tls else "http"
        kept = float(settings["keep-alive"].value)
        raise_descriptor_limit()
        most, management = room(int(settings["max-connections"].value))
        bound = self._bind(settings.host, settings.port)
        self.crew: Crew | None = None
        self._api: HttpServer | Crew
        if in_process(settings):
            self._api = HttpServer(
                self._made_late(partial(_api, service)), bound, tls, keep_alive=kept, connections=Connections(most)
            )
        else:
            self._api = self.crew = crew_of(settings, service, bound, Connections(most))
        self._all: list[HttpServer | Crew] = [self._api]
        port = settings["management-port"].value
        if port is not None:
            host = settings["management-host"].value or settings.host
            app, bound = self._made_late(partial(_management, service)), self._bind(host, port)
            self._all.append(HttpServer(app, bound, keep_alive=kept, connections=Connections(management)))

    def _made_late(self, make: Callable[[], App]) -> App:
        self._late.append(LateApp(make))
        return self._late[-1]

    def _bind(self, host: str, port: int) -> socket.socket:
        return self._sockets.enter_context(bind(host, port))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sockets.close()

    @property
    def url(self) -> str:
        return f"{self._scheme}://{shown(self._host, self._api.port)}"

    async def serve(self) -> None:
        """Until `stop` is called."""
        self._making = asyncio.ensure_future(self._make_apps())
        await asyncio.gather(*(server.serve() for server in self._all), self._making)

    async def _make_apps(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            if self.crew is None:  # it has imported what they need
                await engine_comes(self._lifecycle)
            for app in self._late:
                await app.make()

    async def stop(self) -> None:
        if self._making is not None:
            self._making.cancel()
        for app in self._late:
            app.give_up()
        await asyncio.gather(*(server.stop() for server in self._all))
