"""One API process as the server has it: started, spoken to, given connections, and gone again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
from typing import Any

from stoker.child_environment import child_environment
from stoker.serve.http.connections import Place
from stoker.serve.operate.crew import WorkerState
from stoker.tethered import OWN_GROUP, tethered
from stoker.workers.desk import Desk, Shop
from stoker.workers.handing import Outlet, pair
from stoker.workers.link import Handlers, Link, LinkLostError

_STATE_SECONDS = 1.0
_ANSWER_SECONDS = 5.0
_STOP_SECONDS = 8.0
_numbers = itertools.count(1)


class Member:
    """From its start to its end; another takes its place then. `ready` while it takes connections."""

    def __init__(self, number: int, shop: Shop) -> None:
        self.number = number
        self.ready = False
        self._desk = Desk(shop)
        own = self._desk.handlers()
        connections = {"idle": self._idle, "busy": self._busy, "over": self._over}
        self.link = Link(Handlers({**own.told, **connections}, own.asked, own.held))
        self._process: subprocess.Popen[bytes] | None = None
        self._outlet: Outlet | None = None
        self._places: dict[int, Place] = {}
        self._resting: set[int] = set()
        self._last: list[Any] = [0, 0, 0.0]

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def connections(self) -> int:
        return len(self._places)

    @property
    def load(self) -> tuple[int, int]:
        """Connections with a request on them, and all."""
        return len(self._places) - len(self._resting), len(self._places)

    async def start(self, seed: str) -> None:
        """OSError where it cannot be started. `seed`: of hashes, which all API processes compute alike."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        outlet, inlet = pair()
        inherited = (theirs.fileno(), inlet.fileno())
        command = [sys.executable, "-m", "stoker.workers.process", *map(str, inherited)]
        try:
            # By vfork, unlike asyncio's: what gRPC does in the copy of a process that forks may crash it.
            self._process = subprocess.Popen(
                tethered(command, signal.SIGKILL, OWN_GROUP),
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
                env=_environment(seed),
            )
        except BaseException:
            ours.close()
            outlet.close()
            raise
        finally:
            theirs.close()
            inlet.close()
        self._outlet = Outlet(outlet)
        await asyncio.get_running_loop().create_connection(lambda: self.link, sock=ours)

    def take(self, connection: socket.socket, place: Place) -> None:
        number = next(_numbers)
        self._places[number] = place
        assert self._outlet is not None
        self._outlet.hand(connection, number, place.address)

    def _idle(self, number: int) -> None:
        self._resting.add(number)
        self._places[number].idle(lambda: self.link.tell("end_idle", number))

    def _busy(self, number: int) -> None:
        self._resting.discard(number)
        self._places[number].busy()

    def _over(self, number: int) -> None:
        self._resting.discard(number)
        self._places.pop(number).leave()

    async def state(self, named: str, restarts: int) -> WorkerState:
        """As it was where it does not answer in time."""
        with contextlib.suppress(asyncio.TimeoutError, LinkLostError):
            self._last = await asyncio.wait_for(self.link.ask("state"), _STATE_SECONDS)
        return WorkerState(self.number, named, self.pid, restarts, self.connections, *self._last)

    async def ended(self) -> str:
        """Once it has ended, and all that it held is free: how it ended."""
        await asyncio.shield(self.link.lost)
        self.ready = False
        await self.link.left()
        self._desk.close()
        for place in self._places.values():
            place.leave()
        self._places.clear()
        self._resting.clear()
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            outlet.close()
        return await self._exit()

    async def _exit(self) -> str:
        assert self._process is not None
        try:
            code = await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = await asyncio.to_thread(self._process.wait)
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    async def stop(self) -> None:
        """Lets it end what it is sending, for a few seconds."""
        self.ready = False
        if self._process is None:
            return
        self.link.tell("stop")
        await asyncio.wait({self.link.lost}, timeout=_STOP_SECONDS)
        self.link.abort()
        await self.ended()

    async def kill(self) -> None:
        """Once it has been started."""
        assert self._process is not None
        self._process.kill()
        await self.ended()

    async def drained(self, seconds: float) -> int:
        """Requests that it has left after so many seconds: by its connections where it does not answer."""
        try:
            return int(await asyncio.wait_for(self.link.ask("drained", seconds), seconds + _ANSWER_SECONDS))
        except asyncio.TimeoutError:
            return max(1, self.load[0])
        except LinkLostError:
            return 0


def _environment(seed: str) -> dict[str, str]:
    """With what OpenTelemetry reads, which may hold a collector's credentials: this is no engine, but our own API."""
    telemetry = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
    return child_environment({**telemetry, "PYTHONHASHSEED": seed})
