"""A server without a file descriptor left turns one client away, and serves the others when there is one again."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import Any

import pytest
from tests.waiting import SECONDS

from stoker.serve.http.acceptor import Acceptor, Connector
from stoker.serve.http.connections import Connections, Refusals
from stoker.serve.http.server import bind


class Exhausted:
    """A listening socket that has run out of descriptors for its first tries."""

    def __init__(self, bound: socket.socket, tries: int) -> None:
        self._bound, self.left = bound, tries

    def accept(self) -> Any:
        self.left -= 1
        if self.left >= 0:
            raise OSError(24, "Too many open files")
        return self._bound.accept()

    def fileno(self) -> int:
        return self._bound.fileno()


def test_no_descriptor_left_is_told_and_ends_by_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def inner() -> None:
        with bind("127.0.0.1", 0) as bound:
            made: list[Any] = []
            reached = asyncio.Event()

            def make(place: Any) -> asyncio.Protocol:
                made.append(place)
                reached.set()
                return asyncio.Protocol()

            connector = Connector(make, None)
            acceptor = Acceptor(Exhausted(bound, 2), connector.take, Connections(8))  # type: ignore[arg-type]
            with socket.create_connection(bound.getsockname()):
                await asyncio.wait_for(reached.wait(), SECONDS)
            acceptor.close()
            connector.close()

    monkeypatch.setattr("stoker.serve.http.acceptor.refusals", Refusals())
    with caplog.at_level(logging.WARNING):
        asyncio.run(inner())
    assert "no file descriptor is left" in caplog.text


def test_the_spare_descriptor_that_another_thread_takes_is_not_closed_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number is another file's then."""

    async def inner() -> None:
        with bind("127.0.0.1", 0) as bound:
            reached = asyncio.Event()
            taken: list[int] = []

            def reach(connection: socket.socket, place: Any) -> None:
                connection.close()
                reached.set()

            acceptor = Acceptor(Exhausted(bound, 4), reach, Connections(8))  # type: ignore[arg-type]

            def take(*given: Any) -> int:
                taken.append(os.dup(bound.fileno()))
                raise OSError(24, "Too many open files")

            with monkeypatch.context() as patched, socket.create_connection(bound.getsockname()):
                patched.setattr("stoker.serve.http.acceptor._PAUSE_SECONDS", 0.01)
                patched.setattr("stoker.serve.http.acceptor.os.open", take)
                await asyncio.wait_for(reached.wait(), SECONDS)
            assert len(taken) == 2
            for descriptor in taken:
                os.close(descriptor)  # OSError where somebody else has done so
            acceptor.close()

    monkeypatch.setattr("stoker.serve.http.acceptor.refusals", Refusals())
    asyncio.run(inner())
