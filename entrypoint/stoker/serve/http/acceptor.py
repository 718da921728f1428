"""Accepts connections: before TLS or any protocol, so that each is counted, and one too many costs almost nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable

from stoker.serve.http.connections import Connections, Place, refusals
from stoker.serve.http.errors import overloaded

_AT_ONCE = 64
_HANDSHAKE_SECONDS = 10.0
_PAUSE_SECONDS = 0.5
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

MakeProtocol = Callable[[Place], asyncio.Protocol]


class Connector:
    """Lets a protocol have a connection: with TLS, once its handshake is over."""

    def __init__(self, make: MakeProtocol, tls: ssl.SSLContext | None) -> None:
        self._make = make
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._starting: set[asyncio.Task[None]] = set()

    def take(self, connection: socket.socket, place: Place) -> None:
        task = self._loop.create_task(self._connect(connection, place))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    def close(self) -> None:
        for task in self._starting:
            task.cancel()

    async def _connect(self, connection: socket.socket, place: Place) -> None:
        timeout = _HANDSHAKE_SECONDS if self._tls else None
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(
                lambda: self._make(place), connection, ssl=self._tls, ssl_handshake_timeout=timeout
            )
        except asyncio.CancelledError:
            place.leave()
            connection.close()
            raise
        except Exception as error:  # it has left, or is no TLS: nothing that could be fixed here
            place.leave()
            connection.close()
            if self._tls:
                refusals.tell("TLS handshakes that failed", f"{place.address}: {error}"[:200])


class Acceptor:
    """Of one listening socket, which it does not close; `take` gets what is not refused. Refusals are in plain HTTP,
    which none is in TLS."""

    def __init__(
        self,
        bound: socket.socket,
        take: Callable[[socket.socket, Place], None],
        connections: Connections,
        *,
        plain: bool = True,
    ) -> None:
        self._socket = bound
        self._take = take
        self._connections = connections
        self._plain = plain
        self._loop = asyncio.get_running_loop()
        self._spare = _spare_descriptor()
        self._open = True
        self._loop.add_reader(bound, self._accept_all)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._socket)
            self._give_up_spare()

    def _accept_all(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._exhausted(error)
                    return
                continue
            self._begin(connection, str(address[0]))

    def _begin(self, connection: socket.socket, host: str) -> None:
        place = self._connections.enter(host)
        if place is None:
            self._refuse(connection)
            return
        connection.setblocking(False)
        self._take(connection, place)

    def _refuse(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.setblocking(False)
            if self._plain:
                connection.send(_REFUSAL)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(65536)  # what is unread when a socket is closed ends in a reset, and the answer with it

    def _exhausted(self, error: OSError) -> None:
        """Gives up the spare descriptor to turn one client away, and lets the others wait for a moment."""
        refusals.tell(
            f"connections, since no file descriptor is left ({error.strerror}); raise the limit of open files"
        )
        self._give_up_spare()
        with contextlib.suppress(OSError):
            connection, _ = self._socket.accept()
            self._refuse(connection)
        self._spare = _spare_descriptor()
        self._loop.remove_reader(self._socket)
        self._loop.call_later(_PAUSE_SECONDS, self._go_on)

    def _give_up_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            os.close(spare)

    def _go_on(self) -> None:
        if self._open:
            self._loop.add_reader(self._socket, self._accept_all)


def _spare_descriptor() -> int | None:
    """None where another thread was quicker to take the last one."""
    try:
        return os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return None


def _refusal() -> bytes:
    error = overloaded("Too many connections.", None)
    body = error.body()
    head = [b"HTTP/1.1 503 Service Unavailable", b"content-type: application/json", b"connection: close"]
    head += [b"%s: %s" % each for each in error.headers()]
    return b"\r\n".join([*head, b"content-length: %d" % len(body), b"", body])


_REFUSAL = _refusal()
