"""The listening socket and the HTTP server on it. Signals belong to whoever calls, not to the server."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import uvicorn

from stoker.errors import StokerError, UsageError
from stoker.listening import address_of, listeners, process_of, shown
from stoker.serve.http.acceptor import Acceptor, Connector, MakeProtocol
from stoker.serve.http.asgi import App
from stoker.serve.http.connections import MOST_CONNECTIONS, Connections, Place
from stoker.serve.http.protocol import connection

_BACKLOG = 2048
_GRACE_SECONDS = 5
# Load balancers keep their connections for 60 s: one that closes first loses the request that is on its way.
KEEP_ALIVE_SECONDS = 75.0


def bind(host: str, port: int) -> socket.socket:
    """A bound socket, `port` 0 for a free one, taken before anything slow begins. UsageError when it is not available.

    `::` takes IPv4 too, as `::ffff:1.2.3.4`, and is `0.0.0.0` on a machine without IPv6.
    """
    try:
        family, kind, protocol, address = address_of(host, port)
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"cannot listen on {shown(host, port)}", why=str(error), remedy="check --host") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address[0] == "::" else 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise _cannot_listen(host, port, error) from error
    return bound


def _cannot_listen(host: str, port: int, error: OSError) -> StokerError:
    what = f"cannot listen on {shown(host, port)}"
    if error.errno == errno.EADDRINUSE:
        holder = next(filter(None, map(process_of, listeners(port))), "")
        why = f"{holder} has the port" if holder else "the port is taken"
        return UsageError(what, why=why, remedy="stop it, or choose another --port")
    if error.errno == errno.EACCES:
        return UsageError(what, why="ports below 1024 need privileges", remedy="choose another --port")
    return UsageError(what, why=error.strerror or str(error), remedy="check --host and --port")


class Closes(Protocol):
    def close(self) -> None: ...


Take = Callable[[socket.socket, Place], None]
Source = Callable[[socket.socket, Take], Closes]
"""Where connections come from: begins to hand them over."""


def listening(connections: Connections, tls: ssl.SSLContext | None) -> Source:
    """From a socket of the server's own."""
    return lambda bound, take: Acceptor(bound, take, connections, plain=tls is None)


class HttpServer:
    """uvicorn with httptools, and uvloop where the loop is one. `keep_alive`: how long idle connections are kept;
    `connections`: how many there may be. `bound`: a listening socket, or where `source` takes connections from."""

    def __init__(
        self,
        app: App,
        bound: socket.socket,
        tls: ssl.SSLContext | None = None,
        *,
        keep_alive: float = KEEP_ALIVE_SECONDS,
        connections: Connections | None = None,
        source: Source | None = None,
    ) -> None:
        config = uvicorn.Config(
            cast(Any, app),
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            proxy_headers=False,  # uvicorn would believe whoever connects from this machine; see peers.Forwarded
            timeout_graceful_shutdown=_GRACE_SECONDS,
            timeout_keep_alive=cast(int, keep_alive),
        )
        config.load()
        config.ssl = tls
        self.connections = connections or Connections(MOST_CONNECTIONS)
        self._server = _Server(config, source or listening(self.connections, tls))
        self._socket = bound
        self._running: asyncio.Future[None] | None = None

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    async def serve(self) -> None:
        """Until `stop` is called."""
        self._running = asyncio.ensure_future(self._server.serve([self._socket]))
        await asyncio.shield(self._running)

    async def stop(self) -> None:
        """Stops listening and closes idle connections at once, then waits a few seconds for answers under way."""
        self._server.should_exit = True
        if self._running is not None:
            await asyncio.wait({self._running})


class _Server(uvicorn.Server):
    """uvicorn's, except for its signals and for how connections begin."""

    def __init__(self, config: uvicorn.Config, source: Source) -> None:
        super().__init__(config)
        self._source = source

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        self.servers = [
            cast(Any, _Doors(each, self._source, self._connection, self.config.ssl)) for each in sockets or ()
        ]
        self.started = True

    def _connection(self, place: Place) -> asyncio.Protocol:
        given = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
        return connection(place, **given, _loop=asyncio.get_running_loop())


class _Doors:
    """Stands for an asyncio.Server where uvicorn asks for one."""

    def __init__(self, bound: socket.socket, source: Source, make: MakeProtocol, tls: ssl.SSLContext | None) -> None:
        self._connector = Connector(make, tls)
        self._source = source(bound, self._connector.take)

    def close(self) -> None:
        self._source.close()

    async def wait_closed(self) -> None:
        self._connector.close()


async def serve(app: App, bound: socket.socket) -> None:
    """Serves until cancelled, then stops gracefully. Run it in a uvloop: `uvloop.run(...)`."""
    server = HttpServer(app, bound)
    try:
        await server.serve()
    finally:
        await server.stop()
