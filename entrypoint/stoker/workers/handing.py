"""Accepted connections on their way from the server's process, which has the port, to an API process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable

from stoker.serve.http.connections import Connections, Place, refusals
from stoker.workers.link import Link

_NUMBER = struct.Struct("<Q")
_LONGEST_ADDRESS = 256
_AT_ONCE = 64


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a socket that keeps messages apart."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


class Outlet:
    """The server's end. What the other process has not taken yet waits here."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[socket.socket, bytes]] = deque()

    def hand(self, connection: socket.socket, number: int, address: str) -> None:
        """The connection is the other process's from here on."""
        self._waiting.append((connection, _NUMBER.pack(number) + address.encode()[:_LONGEST_ADDRESS]))
        if len(self._waiting) == 1 and not self._send():
            self._loop.add_writer(self._end, self._send)

    def _send(self) -> bool:
        """Whether nothing waits any more."""
        while self._waiting:
            connection, head = self._waiting[0]
            try:
                socket.send_fds(self._end, [head], [connection.fileno()])
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:  # the other process has ended, and what it had not taken ends with it
                pass
            self._waiting.popleft()
            connection.close()
        self._loop.remove_writer(self._end)
        return True

    def close(self) -> None:
        self._loop.remove_writer(self._end)
        while self._waiting:
            self._waiting.popleft()[0].close()
        self._end.close()


class Inlet:
    """The API process's end, in the place of an Acceptor: tells the server of each connection that is idle, busy or
    over."""

    def __init__(self, end: socket.socket, take: Callable[[socket.socket, Place], None], link: Link) -> None:
        self._end = end
        self._take = take
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(end, self._receive)
        self._places: dict[int, LentPlace] = {}

    def close(self) -> None:
        self._loop.remove_reader(self._end)

    def end_idle(self, number: int) -> None:
        """The server gives the connection's place to another."""
        if place := self._places.get(number):
            place.give_up()

    def _receive(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                head, descriptors, _, _ = socket.recv_fds(self._end, _NUMBER.size + _LONGEST_ADDRESS, 1)
            except (BlockingIOError, InterruptedError):
                return
            if not head:  # the server has ended
                self.close()
                return
            number, address = _NUMBER.unpack_from(head)[0], head[_NUMBER.size :].decode()
            if not descriptors:  # this process may have no more, and the connection is closed
                refusals.tell("connections, since no file descriptor is left", address)
                self._link.tell("over", number)
                continue
            connection = socket.socket(fileno=descriptors[0])
            connection.setblocking(False)
            place = self._places[number] = LentPlace(number, address, self._link, self._places)
            self._take(connection, place)


class LentPlace(Place):
    """That of a connection in the server's account."""

    def __init__(self, number: int, address: str, link: Link, places: dict[int, LentPlace]) -> None:
        super().__init__(_NOBODYS, address)
        self._number = number
        self._link = link
        self._places = places
        self._close: Callable[[], None] | None = None
        self._given_up = False

    def idle(self, close: Callable[[], None]) -> None:
        was_idle, self._close = self._close is not None, close
        if self._given_up:
            self._end()
        elif not was_idle:
            self._link.tell("idle", self._number)

    def busy(self) -> None:
        if self._close is not None:
            self._close = None
            self._link.tell("busy", self._number)

    def leave(self) -> None:
        if self._places.pop(self._number, None) is not None:
            self._link.tell("over", self._number)

    def give_up(self) -> None:
        """Ends the connection: at once, or as soon as its request is answered."""
        self._given_up = True
        self._end()

    def _end(self) -> None:
        close, self._close = self._close, None
        if close is not None:
            with contextlib.suppress(RuntimeError):
                close()


_NOBODYS = Connections(0)
