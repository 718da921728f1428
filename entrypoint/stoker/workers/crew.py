"""The API's processes: started with the server, started again when one ends, and told what the server decides.

The server's process has the port and accepts all connections. Each goes to the process that is answering the fewest; a
process that ends takes its own with it, and nobody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import msgspec

from stoker.backoff import backoff
from stoker.errors import StokerError
from stoker.event_loop import call_in_loop
from stoker.launch.replicas import Address, Replicas
from stoker.launch.run_directory import make_run_directory, remove_stale_run_directories
from stoker.serve.apis.openai_responses.store import Kept, ResponseStore
from stoker.serve.http.acceptor import Acceptor
from stoker.serve.http.app import create_answering
from stoker.serve.http.connections import Connections, Place
from stoker.serve.operate.crew import WorkerState
from stoker.serve.operate.frontend import Recipe
from stoker.serve.operate.service import Service
from stoker.workers.desk import Shop
from stoker.workers.link import LinkLostError
from stoker.workers.member import Member
from stoker.workers.orders import Equip, Start, packed

logger = logging.getLogger("stoker")

_AGREE_SECONDS = 5.0
_BACKOFF, _LONGEST_BACKOFF = 0.1, 10.0
_STEADY_SECONDS = 10.0  # it has started well when it lives so long
_ATTEMPTS = 5
_KEYS_SECONDS = 1.0


class ApiProcessError(StokerError):
    """The API's processes do not start."""

    code = "api_process"


class _Slot:
    """Where one process follows another."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.member: Member | None = None
        self.restarts = self.failures = 0
        self.keeping: asyncio.Task[None] | None = None
        self.started = asyncio.Event()

    @property
    def state(self) -> str:
        if self.started.is_set() and self.member is not None and self.member.ready:
            return "ready"
        return "restarting" if self.restarts else "starting"


class Crew:
    """stoker.serve.operate.crew.Crew, and the listener of the API's port. `start`: what each process is told first."""

    def __init__(
        self, count: int, start: Start, service: Service, bound: socket.socket, connections: Connections
    ) -> None:
        remove_stale_run_directories()
        self._directory = make_run_directory()
        self.counted: Path = self._directory.path
        self._start = start
        self._service = service
        self._bound = bound
        self._connections = connections
        if service.responses is not None:
            service.responses = _Agreeing(service.responses, self)
        service.crew, service.metrics.counted = self, self.counted
        self._shop = Shop(service, create_answering(service))
        self._equip: tuple[Recipe, Replicas] | None = None
        self._slots = [_Slot(number) for number in range(count)]
        self._waiting: deque[tuple[socket.socket, Place]] = deque()
        self._seed = str(secrets.randbelow(1 << 32))
        self._keys = dict(service.exposure.keys.names)
        self._stopping = asyncio.Event()

    @property
    def port(self) -> int:
        return int(self._bound.getsockname()[1])

    @property
    def _members(self) -> list[Member]:
        """Those that have been started."""
        return [slot.member for slot in self._slots if slot.member is not None and slot.started.is_set()]

    # the port

    async def serve(self) -> None:
        """Until `stop` is called."""
        loop = asyncio.get_running_loop()
        lifecycle = self._service.lifecycle

        def changed() -> None:
            call_in_loop(loop, self._tell_phase)

        lifecycle.on_change = changed
        self._service.adapters.on_change = self._tell_adapters
        for slot in self._slots:
            slot.keeping = asyncio.create_task(self._keep(slot))
        self._show()
        acceptor = Acceptor(self._bound, self._assign, self._connections, plain=self._start.tls is None)
        watching = asyncio.create_task(self._watch_keys())
        await self._stopping.wait()
        watching.cancel()
        acceptor.close()

    def _assign(self, connection: socket.socket, place: Place) -> None:
        ready = [member for member in self._members if member.ready]
        if ready:
            min(ready, key=lambda each: each.load).take(connection, place)
        else:
            self._waiting.append((connection, place))

    async def stop(self) -> None:
        """As an HttpServer does: answers under way have a few seconds."""
        self._stopping.set()
        keeping = [slot.keeping for slot in self._slots if slot.keeping is not None]
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)
        await asyncio.gather(*(slot.member.stop() for slot in self._slots if slot.member is not None))
        while self._waiting:
            connection, place = self._waiting.popleft()
            connection.close()
            place.leave()
        self._directory.remove()

    # the processes

    async def _keep(self, slot: _Slot) -> None:
        """One process after another."""
        while True:
            began = time.monotonic()
            slot.started.clear()
            try:
                how = await self._run(slot)
            except Exception as error:  # whatever it is, the next process may do better
                how = str(error)
            slot.started.clear()
            slot.failures = 0 if time.monotonic() - began > _STEADY_SECONDS else slot.failures + 1
            if slot.failures >= _ATTEMPTS:
                slot.started.set()  # whoever waits for it finds that there is none
            logger.error(
                "API process %d ended (%s), with the requests that it had; starting it again", slot.number, how
            )
            slot.restarts += 1
            self._show()
            await asyncio.sleep(backoff(max(0, slot.failures - 1), _BACKOFF, _LONGEST_BACKOFF))

    async def _run(self, slot: _Slot) -> str:
        """One process from its start to its end; how it ended."""
        slot.member = member = Member(slot.number, self._shop)
        await member.start(self._seed)
        try:
            await member.link.ask("start", packed(self._order(slot.number)))
            slot.started.set()
            self._tell_phase_to(member)
            if self._equip is not None:
                await self._equip_one(member)
            member.ready = True
            self._show()
            while self._waiting and member.ready:
                member.take(*self._waiting.popleft())
        except LinkLostError:
            pass
        except Exception:  # it runs, and is of no use
            await member.kill()
            raise
        return await member.ended()

    def _show(self) -> None:
        self._service.lifecycle.workers = tuple(slot.state for slot in self._slots)

    def _order(self, number: int) -> Start:
        level = logging.getLevelName(logging.getLogger().level)
        return msgspec.structs.replace(
            self._start, worker=number, keys=self._keys, counted=self.counted, log_level=level
        )

    async def resize(self, count: int) -> None:
        """More processes than so far."""
        for number in range(len(self._slots), count):
            slot = _Slot(number)
            self._slots.append(slot)
            slot.keeping = asyncio.create_task(self._keep(slot))
        self._show()

    # what they are told

    async def equip(self, recipe: Recipe, replicas: Replicas) -> None:
        """The engine of these replicas is warm: returns when each process has loaded what it is served with.
        ApiProcessError where they do not start."""
        self._equip, self._shop.replicas = (recipe, replicas), replicas
        await asyncio.gather(*(slot.started.wait() for slot in self._slots))
        if all(slot.failures >= _ATTEMPTS for slot in self._slots):
            raise ApiProcessError("the API's processes do not start", remedy="see what they wrote, above")
        await asyncio.gather(*map(self._equip_one, self._members))

    async def _equip_one(self, member: Member) -> None:
        assert self._equip is not None
        recipe, replicas = self._equip
        addresses = [replicas.address(number) for number in range(len(replicas.states))]
        order = Equip(recipe, tuple(self._service.adapters), addresses, replicas.block_tokens)
        with contextlib.suppress(LinkLostError):  # the next in its place is equipped when it starts
            await member.link.ask("equip", packed(order))
            # What was told meanwhile may have been heard first, and the order is older.
            member.link.tell("adapters", packed(tuple(self._service.adapters)))
            for number in range(len(addresses)):
                _tell_replica(member, number, replicas.address(number))

    def follow(self, replicas: Replicas, number: int) -> None:
        """A replica's server was started, or has ended. Those of an engine that is only starting are told with it."""
        if self._equip is not None and self._equip[1] is replicas:
            for member in self._members:
                _tell_replica(member, number, replicas.address(number))

    def _tell(self, name: str, *given: object) -> None:
        for member in self._members:
            member.link.tell(name, *given)

    def _tell_phase(self) -> None:
        for member in self._members:
            self._tell_phase_to(member)

    def _tell_phase_to(self, member: Member) -> None:
        lifecycle = self._service.lifecycle
        member.link.tell("phase", lifecycle.current, lifecycle.detail)

    def _tell_adapters(self) -> None:
        self._tell("adapters", packed(tuple(self._service.adapters)))

    def look_again(self) -> None:
        """At API keys, certificates and the log's level."""
        self._tell("look_again", logging.getLevelName(logging.getLogger().level))
        self._look_at_keys()

    def _look_at_keys(self) -> None:
        names = dict(self._service.exposure.keys.names)
        if names != self._keys:
            self._keys = names
            self._tell("keys", names)

    async def _watch_keys(self) -> None:
        while True:
            await asyncio.sleep(_KEYS_SECONDS)
            self._look_at_keys()

    async def drained(self, seconds: float) -> int:
        """Requests that are left in flight after so many seconds; new ones are refused."""
        self._tell_phase()
        return sum(await asyncio.gather(*(member.drained(seconds) for member in self._members)))

    def abort(self) -> None:
        self._tell("abort")

    # what they are asked

    async def states(self) -> Sequence[WorkerState]:
        async def one(slot: _Slot) -> WorkerState:
            if slot.member is not None and slot.started.is_set():
                return await slot.member.state(slot.state, slot.restarts)
            return WorkerState(slot.number, slot.state, restarts=slot.restarts)

        return await asyncio.gather(*map(one, self._slots))

    async def agree(self) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            asking = (_asked(member, "agree") for member in self._members)
            await asyncio.wait_for(asyncio.gather(*asking), _AGREE_SECONDS)


def _tell_replica(member: Member, number: int, address: Address) -> None:
    member.link.tell("replica", number, address.grpc, address.metrics, address.reason)


async def _asked(member: Member, name: str, *given: object) -> int:
    try:
        return int(await member.link.ask(name, *given) or 0)
    except LinkLostError:
        return 0


class _Agreeing:
    """A store whose responses come from several processes: what one has just told of may still be on its way when
    another asks for it, so that nothing is missing before all have been asked."""

    def __init__(self, store: ResponseStore, crew: Crew) -> None:
        self._store = store
        self._crew = crew

    def put(self, kept: Kept) -> None:
        self._store.put(kept)

    async def find(self, id_: str, owner: str) -> Kept | None:
        found = await self._store.find(id_, owner)
        if found is None:
            await self._crew.agree()
            found = await self._store.find(id_, owner)
        return found

    def delete(self, id_: str, owner: str) -> bool:
        return self._store.delete(id_, owner)
