"""The machines that share one engine: who leads, who follows, and how each learns that another is lost."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from stoker.errors import EngineError, UsageError
from stoker.plan.types import Chosen
from stoker.settings.layers import Settings

_LOG = logging.getLogger("stoker")
_T = TypeVar("_T")
PORT = 29500  # of the leader: each follower keeps a connection to it
_RETRY_SECONDS = 1.0
_HELLO = b"stoker follower "
_LONGEST_HELLO = 64
# A machine that lost its power closes no connection: it is asked every few seconds.
_KEEP_ALIVE = ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


@dataclass(frozen=True)
class Place:
    """Which machine of how many this is. `leader`: where the first one is; empty where there is but one."""

    nodes: int = 1
    rank: int = 0
    leader: str = ""

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def of(self, chosen: Chosen) -> Chosen:
        """As the engine of this machine is started."""
        return replace(chosen, node_rank=self.rank, leader=self.leader) if chosen.nodes > 1 else chosen


def place_of(settings: Settings) -> Place:
    """UsageError for values that contradict each other."""
    nodes, rank = int(settings["nodes"].value), int(settings["node-rank"].value)
    leader = str(settings["leader"].value or "")
    if rank >= nodes:
        what = f"--node-rank {rank} is not one of {nodes} machines"
        raise UsageError(what, remedy=f"count from 0 to {nodes - 1}, and give --nodes")
    if nodes > 1 and not leader:
        raise UsageError(f"--nodes {nodes} needs --leader", remedy="name the machine of --node-rank 0 on each of them")
    return Place(nodes, rank, leader if nodes > 1 else "")


class Attendance:
    """The leader's: which followers are `here`, by their numbers. All of it belongs to one event loop."""

    def __init__(self, place: Place, port: int = PORT) -> None:
        self._place = place
        self._port = port
        self.here: set[int] = set()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[asyncio.Future[EngineError]]:
        """Gives what is done once a connected follower is lost. UsageError for a port that is taken."""
        gone: asyncio.Future[EngineError] = asyncio.get_running_loop().create_future()
        if self._place.nodes == 1:
            yield gone
            return

        async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._attend(reader, writer, gone)

        try:
            server = await asyncio.start_server(attend, None, self._port, limit=_LONGEST_HELLO)
        except OSError as error:
            what = f"followers cannot reach port {self._port}"
            raise UsageError(what, why=str(error), remedy="free the port") from error
        try:
            yield gone
        finally:
            server.close()

    async def _attend(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gone: asyncio.Future[EngineError]
    ) -> None:
        rank = await _hello(reader)
        try:
            if rank is None or not 0 < rank < self._place.nodes or rank in self.here:
                return
            _keep_alive(writer)
            self.here.add(rank)
            _LOG.info("machine %d of %d is here", rank, self._place.nodes)
            await _until_closed(reader)
            self.here.discard(rank)
            if not gone.done():
                what = f"machine {rank} of {self._place.nodes} is lost"
                remedy = "all machines of the group start again together"
                gone.set_result(EngineError(what, why="its connection ended", remedy=remedy))
        finally:
            writer.close()


async def _hello(reader: asyncio.StreamReader) -> int | None:
    """The follower's number; None for somebody else."""
    try:
        line = await asyncio.wait_for(reader.readline(), 5)
    except (asyncio.TimeoutError, ValueError, OSError):
        return None
    number = line.removeprefix(_HELLO).strip()
    return int(number) if line.startswith(_HELLO) and number.isdigit() else None


async def unless(gone: asyncio.Future[EngineError], work: Coroutine[object, object, _T]) -> _T:
    """What `work` returns; raises the error when a machine is lost before."""
    task = asyncio.ensure_future(work)
    ends: set[asyncio.Future[Any]] = {task, gone}
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            raise gone.result()
        return await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def attend(place: Place, port: int = PORT) -> None:
    """A follower's: returns when the leader has exited. Waits for a leader that has not started yet."""
    while True:
        try:
            reader, writer = await asyncio.open_connection(place.leader, port)
        except OSError:
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        try:
            _keep_alive(writer)
            writer.write(_HELLO + b"%d\n" % place.rank)
            await _until_closed(reader)
        finally:
            writer.close()
        return


async def _until_closed(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(_LONGEST_HELLO):
            pass
    except OSError:
        pass


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE:
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
