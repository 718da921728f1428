"""Several copies of an engine as one: each has a Triton of its own, which its supervisor restarts.

Not one Triton with a model for each: a model whose process died could only be loaded again by ending the server, and
with it everybody's requests. So a replica that dies takes its own requests with it and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

from stoker.errors import StokerError
from stoker.launch.death import Death
from stoker.launch.generation import (
    Delta,
    EngineDiedError,
    EngineState,
    Generation,
    ReplicaState,
    died,
    joint_gauges,
)
from stoker.launch.routing import Load, Route, Router, block_hashes
from stoker.launch.supervisor import Patience, Supervisor
from stoker.progress import Progress, Silent

logger = logging.getLogger(__name__)

_BY_PRECEDENCE = ("ready", "stalled", "warming", "loading", "starting", "restarting", "failed", "stopped")
_STATE_SECONDS = 1.0
_FAILING_SECONDS = 1.0


def joint(states: Sequence[str]) -> str:
    """Of all replicas as one engine: that of the one that is furthest."""
    return min(states, key=_BY_PRECEDENCE.index)


@dataclass
class _Member:
    """One replica, and what it has been given."""

    supervisor: Supervisor
    sequences: int = 0
    waiting: int = 0
    requests: int = 0
    read: int = 0
    held: int = 0
    failure: StokerError | None = None
    watcher: asyncio.Task[None] | None = None
    failing_until: float = 0.0

    @property
    def load(self) -> Load:
        return Load(self.sequences, self.waiting)


@dataclass
class Share:
    """One request's part of a replica's load: `waiting` tokens, until the answer has `begun`."""

    replica: int
    _member: _Member
    waiting: int

    def begun(self) -> None:
        self._member.waiting -= self.waiting
        self.waiting = 0


@dataclass(frozen=True)
class Address:
    """Of a replica's server: of its gRPC and of its metrics page. Empty while there is none, and `reason` says why."""

    grpc: str
    metrics: str
    reason: str = ""


@dataclass
class _Listener:
    """Hears the states of one supervisor, and passes them on with its number."""

    number: int
    heard: Callable[[int, str], None]

    def __call__(self, state: str) -> None:
        self.heard(self.number, state)


class Replicas:
    """An EngineClient. `make` gives the supervisor of each number, with what is to hear of its states.

    `on_state` hears of each change of a replica: its number, its state, and the joint state of all.
    """

    def __init__(
        self,
        count: int,
        make: Callable[[int, Callable[[str], None]], Supervisor],
        router: Router,
        patience: Patience,
        on_state: Callable[[int, str, str], None] | None = None,
    ) -> None:
        self._router = router
        self._patience = patience
        self._on_state = on_state
        self._members = [_Member(make(number, _Listener(number, self._heard))) for number in range(count)]
        self._failed: asyncio.Future[StokerError] | None = None

    def _heard(self, number: int, state: str) -> None:
        if state == "restarting":
            self._router.forget(number)
        if self._on_state is not None:
            self._on_state(number, state, self.condition)

    @property
    def condition(self) -> str:
        """The joint state of all."""
        return joint(self.states)

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(member.supervisor.state for member in self._members)

    @property
    def ready(self) -> int:
        """How many take requests."""
        return sum(member.supervisor.ready for member in self._members)

    @property
    def block_tokens(self) -> int:
        """Of the blocks whose hashes a prompt is routed by; 0 where they make no difference."""
        return self._router.block_tokens if len(self._members) > 1 else 0

    def address(self, number: int) -> Address:
        """Where a replica is reached now."""
        supervisor = self._members[number].supervisor
        if supervisor.state not in ("ready", "stalled"):
            return Address("", "", supervisor.client.reason)
        return Address(supervisor.address, supervisor.metrics_socket)

    def heard(self, number: int) -> None:
        """A token came out of a replica, for somebody who asks it beside its own client."""
        self._members[number].supervisor.client.last_token = time.monotonic()

    @property
    def deaths(self) -> tuple[Death, ...]:
        return tuple(death for member in self._members for death in member.supervisor.deaths)

    async def start(self, progress: Progress) -> None:
        """Returns when all are ready; of their progress the first's is told. Where one does not come up, none stays."""
        self._failed = asyncio.get_running_loop().create_future()
        starts = [
            asyncio.ensure_future(member.supervisor.start(Silent() if number else progress))
            for number, member in enumerate(self._members)
        ]
        try:
            await asyncio.wait(starts, return_when=asyncio.FIRST_EXCEPTION)
            for start in starts:
                if start.done():
                    start.result()
        except BaseException:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await self.stop()
            raise
        for number, member in enumerate(self._members):
            member.watcher = asyncio.create_task(self._watch(number, member))

    async def wait_failed(self) -> StokerError:
        """Returns why, once all have been given up."""
        assert self._failed is not None, "start() comes first"
        return await asyncio.shield(self._failed)

    async def stop(self) -> None:
        watchers = [member.watcher for member in self._members if member.watcher is not None]
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        await asyncio.gather(*(member.supervisor.stop() for member in self._members))

    async def _watch(self, number: int, member: _Member) -> None:
        """A replica that was given up is tried again after a while, for as long as others serve."""
        assert self._failed is not None
        member.failure = await member.supervisor.wait_failed()
        while not all(each.failure for each in self._members):
            logger.error("replica %d was given up (%s); the others serve on", number, member.failure)
            await asyncio.sleep(self._patience.window)
            await self._revive(member)
        if not self._failed.done():
            assert member.failure is not None
            self._failed.set_result(member.failure)

    async def _revive(self, member: _Member) -> None:
        """Returns when it has been given up again."""
        failure, member.failure = member.failure, None
        try:
            await member.supervisor.revive()
            failure = await member.supervisor.wait_failed()
        except (StokerError, OSError) as error:
            failure = error if isinstance(error, StokerError) else failure
        finally:
            member.failure = failure

    def generate(self, generation: Generation) -> AsyncGenerator[Delta, None]:
        """Closing it early cancels the request. It goes to one replica and to no other: a request that ends one must
        not end them all."""
        if len(self._members) == 1:
            return self._members[0].supervisor.client.generate(generation)
        return self._routed(generation)

    async def _routed(self, generation: Generation) -> AsyncGenerator[Delta, None]:
        adapter = generation.adapter.number if generation.adapter else 0
        hashes = block_hashes(generation.input_ids, self.block_tokens, adapter)
        with self.routed(len(generation.input_ids), hashes) as share:
            client = self._members[share.replica].supervisor.client
            async with aclosing(client.generate(generation)) as deltas:
                async for delta in deltas:
                    share.begun()
                    yield delta

    @contextmanager
    def routed(self, length: int, hashes: Sequence[int], grammar: str = "") -> Iterator[Share]:
        """A place in one replica for a prompt of so many tokens, with its `block_hashes`. EngineDiedError while none
        takes requests; RequestRefusedError for a `grammar_of` which an engine has died of, where one is given."""
        if len(self._members) == 1:  # nothing to choose
            with self._members[0].supervisor.client.suspects.watch_grammar(grammar):
                yield Share(0, self._members[0], 0)
            return
        route = self._route(length, hashes)
        member = self._members[route.replica]
        share = Share(route.replica, member, route.tokens)
        self._count(member, length, route)
        try:
            with member.supervisor.client.suspects.watch_grammar(grammar):
                yield share
        except EngineDiedError:
            member.failing_until = time.monotonic() + _FAILING_SECONDS
            raise
        finally:
            share.begun()
            member.sequences -= 1

    def _route(self, length: int, hashes: Sequence[int]) -> Route:
        """EngineDiedError while no replica takes requests.

        One that has just failed others is passed over: until its supervisor notices its death, it would fail all that
        it gets at once, and so have the fewest sequences."""
        ready = {number: each for number, each in enumerate(self._members) if each.supervisor.ready}
        if not ready:
            raise died("no replica of it takes requests")
        now = time.monotonic()
        whole = {number: each.load for number, each in ready.items() if each.failing_until < now}
        loads = whole or {number: each.load for number, each in ready.items()}
        return self._router.place(length, hashes, loads)

    @staticmethod
    def _count(member: _Member, prompt: int, route: Route) -> None:
        member.sequences += 1
        member.requests += 1
        member.waiting += route.tokens
        member.read += route.tokens
        member.held += prompt - route.tokens

    async def state(self) -> EngineState:
        gauges = joint_gauges(await self.members())
        if gauges is None:
            raise died("no replica of it answers")
        return gauges

    async def members(self) -> tuple[ReplicaState, ...]:
        """Never fails: what a replica does not answer in time is left out."""
        states = await asyncio.gather(*(_gauges(member.supervisor) for member in self._members))
        return tuple(self._told(number, state) for number, state in enumerate(states))

    def _told(self, number: int, engine: EngineState | None) -> ReplicaState:
        member = self._members[number]
        return ReplicaState(
            replica=number,
            state=member.supervisor.state,
            restarts=member.supervisor.restarts,
            sequences=member.sequences,
            tokens_waiting=member.waiting,
            requests=member.requests,
            tokens_read=member.read,
            tokens_held=member.held,
            engine=engine,
        )


async def _gauges(supervisor: Supervisor) -> EngineState | None:
    if not supervisor.ready:
        return None
    try:
        return await asyncio.wait_for(supervisor.client.state(), _STATE_SECONDS)
    except (StokerError, asyncio.TimeoutError):
        return None
