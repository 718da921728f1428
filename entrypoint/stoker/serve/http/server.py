"""The listening socket and the HTTP server on it. Signals belong to whoever calls, not to the server."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import uvicorn

from stoker.errors import StokerError, UsageError
from stoker.serve.http.asgi import App

_BACKLOG = 2048
_GRACE_SECONDS = 5


def bind(host: str, port: int) -> socket.socket:
    """A bound socket, `port` 0 for a free one; to be had before anything slow begins. UsageError when it cannot be."""
    try:
        family, kind, protocol, _, address = _resolve(host, port)
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port}", why=str(error), remedy="check --host") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise _cannot_listen(host, port, error) from error
    return bound


def _resolve(host: str, port: int) -> Any:
    if not 0 <= port <= 65535:
        raise OSError("ports are 0 to 65535")
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]


def _cannot_listen(host: str, port: int, error: OSError) -> StokerError:
    what = f"cannot listen on {host}:{port}"
    if error.errno == errno.EADDRINUSE:
        holder = _holder(port)
        why = f"{holder} has the port" if holder else "the port is taken"
        return UsageError(what, why=why, remedy="stop it, or choose another --port")
    if error.errno == errno.EACCES:
        return UsageError(what, why="ports below 1024 need privileges", remedy="choose another --port")
    return UsageError(what, why=error.strerror or str(error), remedy="check --host and --port")


def _holder(port: int) -> str:
    """The process that listens on a TCP port, from /proc; empty when that cannot be seen."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not inodes:
        return ""
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(str(link.readlink()) in inodes for link in (directory / "fd").iterdir()):
                return f"process {directory.name} ({(directory / 'comm').read_text().strip()})"
    return ""


def _listening_inodes(port: int) -> Iterator[str]:
    listening = "0A"
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == listening and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


class HttpServer:
    """uvicorn with httptools, and uvloop where the loop is one."""

    def __init__(self, app: App, bound: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        config = uvicorn.Config(
            cast(Any, app),
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        config.load()
        config.ssl = tls
        self._server = _SignalFree(config)
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


class _SignalFree(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: App, bound: socket.socket) -> None:
    """Serves until cancelled, then stops gracefully. Run it in a uvloop: `uvloop.run(...)`."""
    server = HttpServer(app, bound)
    try:
        await server.serve()
    finally:
        await server.stop()
