"""Who may start generating, and who waits: sequences are let in while the engine has places and KV blocks for them.

A sequence reserves the blocks of its prompt and of its longest answer, so what has been let in can finish. The others
wait here and not in the engine, where nobody could choose among them. Of the clients that wait, the one that holds the
fewest blocks is next; each client's own sequences stay in order. When the queue is full, the client with the most
requests in it loses its newest one.

Where there are several clients, the last few places and blocks are for those that have no sequence running: who
asks for a lot, and holds all that it may, keeps no other client's first request waiting until its own answers end.

All of it belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from stoker.serve.http.errors import ApiError, overloaded, too_many

_SMOOTHING = 0.2
_RESERVED_PART = 8
_LEAST_SHARED_BATCH = 4  # a place of fewer is too much of the whole
_SEEN_SECONDS = 600.0


@dataclass(frozen=True)
class Capacity:
    """What the engine runs at once; 0 where it sets no limit. `extra`: of `sequences`, those beyond a step's batch,
    which wait in the engine for a place that comes free. `largest`: blocks that one sequence may have, where they are
    divided among replicas; 0 for all."""

    sequences: int = 0
    blocks: int = 0
    block_tokens: int = 1
    extra: int = 0
    largest: int = 0

    @property
    def tokens(self) -> int:
        """Of the longest sequence."""
        return (self.largest or self.blocks) * self.block_tokens

    def blocks_for(self, tokens: int) -> int:
        """At most all there are: what needs more runs alone, and ends where the cache does."""
        needed = -(-tokens // self.block_tokens)
        return min(needed, self.largest or self.blocks) if self.blocks else needed

    def without_reserve(self) -> Capacity:
        """What clients with sequences in the engine may fill."""
        batch = self.sequences - self.extra
        reserve = self.extra + max(1, batch // _RESERVED_PART) if batch >= _LEAST_SHARED_BATCH else 0
        return replace(self, sequences=self.sequences - reserve, blocks=self.blocks - self.blocks // _RESERVED_PART)

    def hold(self, sequences: int, blocks: int) -> bool:
        fits_batch = not self.sequences or sequences <= self.sequences
        return fits_batch and (not self.blocks or blocks <= self.blocks)


class Turns(Protocol):
    """One request while it is here. `turn`: a place for one sequence of so many tokens, prompt and answer; ApiError,
    429, if its request is given up. `queue_seconds`: the longest that one of its sequences waited."""

    queue_seconds: float

    def turn(self, tokens: int) -> AbstractAsyncContextManager[None]: ...


class Doorkeeper(Protocol):
    """Who decides which requests may start: an Admission of this process, or another's."""

    def enter(self, name: str, tokens: list[int], patience: float = math.inf) -> AbstractContextManager[Turns]: ...


@dataclass(eq=False)
class _Turn:
    """One sequence. `granted` is done when it may start, with an ApiError if it never may."""

    blocks: int
    serial: int
    granted: asyncio.Future[None]
    started: bool = False


@dataclass
class _Client:
    """`held`: blocks of its `running` sequences; `visits`: its requests, oldest first."""

    held: int = 0
    running: int = 0
    queue: deque[_Turn] = field(default_factory=deque)
    visits: list[Visit] = field(default_factory=list)

    def waiting_visits(self) -> list[Visit]:
        return [visit for visit in self.visits if visit.waits]


class Visit:
    """One request while it is here. `queue_seconds`: the longest that one of its sequences waited."""

    def __init__(self, admission: Admission, client: _Client) -> None:
        self._admission = admission
        self._client = client
        self._turns: list[_Turn] = []
        self.queue_seconds = 0.0

    @property
    def waits(self) -> bool:
        """Whether none of its sequences has started."""
        return bool(self._turns) and not any(turn.granted.done() for turn in self._turns)

    def give_up(self, error: ApiError) -> None:
        """Only while it waits."""
        for turn in self._turns:
            turn.granted.set_exception(error)

    @asynccontextmanager
    async def turn(self, tokens: int) -> AsyncIterator[None]:
        """A place for one sequence of so many tokens, prompt and answer. ApiError, 429, if its request is given up."""
        async with self.hold(self.line_up(tokens)):
            yield

    def line_up(self, tokens: int) -> _Turn:
        """A sequence in its queue, to be held or dropped."""
        turn = self._admission.line_up(self._client, tokens)
        self._turns.append(turn)
        return turn

    def drop(self, turn: _Turn) -> None:
        """Whatever became of it: nobody waits for it."""
        if turn.granted.done():
            turn.granted.exception()  # has been seen
        self._admission.leave(self._client, turn)

    @asynccontextmanager
    async def hold(self, turn: _Turn) -> AsyncIterator[None]:
        admission, client = self._admission, self._client
        arrived = time.monotonic()
        try:
            await turn.granted
        except BaseException:
            admission.leave(client, turn)
            raise
        started = time.monotonic()
        self.queue_seconds = max(self.queue_seconds, started - arrived)
        try:
            yield
        finally:
            admission.release(client, turn, time.monotonic() - started)


class Admission:
    """`max_waiting` requests wait at most; 0 for no queue at all. `several_keys`: whether clients are known to be many;
    otherwise they are for ten minutes after a request of another client than the one before."""

    def __init__(self, max_waiting: int = 512, several_keys: Callable[[], bool] = lambda: False) -> None:
        self._max_waiting = max_waiting
        self._several_keys = several_keys
        self._last_client = ""
        self._shared_until = -math.inf
        self._capacity = Capacity()
        self._clients: dict[str, _Client] = {}
        self._running = self._blocks = self._serial = 0
        self._seconds = 0.0

    def resize(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._grant()

    @property
    def waiting(self) -> int:
        """Sequences that wait here."""
        return sum(len(client.queue) for client in self._clients.values())

    @property
    def reserved_blocks(self) -> int:
        return self._blocks

    @contextmanager
    def enter(self, name: str, tokens: list[int], patience: float = math.inf) -> Iterator[Visit]:
        """One request of client `name`, with the tokens of each of its sequences.

        ApiError: 429 when the queue is full of this client's requests, 503 when it is full of others' or the wait would
        be longer than `patience` seconds.
        """
        self._see(name)
        client = self._clients.get(name) or _Client()
        if self._would_wait(client, len(tokens), sum(map(self._capacity.blocks_for, tokens))):
            self._check_wait(patience)
            self._check_queue(name)
        client = self._clients.setdefault(name, client)
        visit = Visit(self, client)
        client.visits.append(visit)
        try:
            yield visit
        finally:
            client.visits.remove(visit)
            if not client.visits:
                self._clients.pop(name, None)

    def _see(self, name: str) -> None:
        if self._last_client not in ("", name):
            self._shared_until = time.monotonic() + _SEEN_SECONDS
        self._last_client = name

    def _would_wait(self, client: _Client, sequences: int, blocks: int) -> bool:
        ahead = any(each.queue and each.held <= client.held for each in self._clients.values())
        return ahead or not self._fits(client, sequences, blocks)

    def _check_wait(self, patience: float) -> None:
        wait = self.expected_wait()
        if wait > patience:
            text = f"The queue is about {wait:.0f} s long, and this request may take {patience:.0f} s."
            raise overloaded(text, self.retry_after())

    def _check_queue(self, name: str) -> None:
        waiting = {each: client.waiting_visits() for each, client in self._clients.items()}
        if sum(map(len, waiting.values())) < self._max_waiting:
            return
        own = len(waiting.get(name, ()))
        longest = max(waiting.values(), key=len, default=[])
        if len(longest) > own + 1:
            longest[-1].give_up(self._too_many(len(longest)))
        elif own:
            raise self._too_many(own)
        else:
            raise overloaded("The queue is full.", self.retry_after())

    def _too_many(self, waiting: int) -> ApiError:
        return too_many(f"The queue is full, and {waiting} of your requests are in it.", self.retry_after())

    def expected_wait(self) -> float:
        """Seconds until what waits now has started, and one more: by Little's law, places come free at the number of
        running sequences over the time that each holds its place. 0 while nothing is known."""
        return (self.waiting + 1) * self._seconds / self._running if self._running else 0.0

    def retry_after(self) -> int | None:
        """Whole seconds until the current queue is empty; None while nothing is known."""
        return math.ceil(self.expected_wait()) or None

    def line_up(self, client: _Client, tokens: int) -> _Turn:
        self._serial += 1
        turn = _Turn(self._capacity.blocks_for(tokens), self._serial, asyncio.get_running_loop().create_future())
        client.queue.append(turn)
        self._grant()
        return turn

    def leave(self, client: _Client, turn: _Turn) -> None:
        """A sequence that will not start, even if it was just about to."""
        if turn.started:
            self._give_back(client, turn)
        elif turn in client.queue:
            client.queue.remove(turn)
            self._grant()

    def release(self, client: _Client, turn: _Turn, seconds: float) -> None:
        self._seconds += (_SMOOTHING if self._seconds else 1.0) * (seconds - self._seconds)
        self._give_back(client, turn)

    def _give_back(self, client: _Client, turn: _Turn) -> None:
        self._count(client, turn, -1)
        self._grant()

    def _count(self, client: _Client, turn: _Turn, sign: int) -> None:
        client.held += sign * turn.blocks
        client.running += sign
        self._blocks += sign * turn.blocks
        self._running += sign

    def _grant(self) -> None:
        """The first in line waits until it fits: letting smaller ones past could keep it waiting forever."""
        while waiting := [client for client in self._clients.values() if client.queue]:
            client = min(waiting, key=lambda each: (each.held, each.queue[0].serial))
            turn = client.queue[0]
            if not (turn.granted.done() or self._fits(client, 1, turn.blocks)):
                return
            client.queue.popleft()
            if not turn.granted.done():  # neither given up nor left by its client
                turn.started = True
                self._count(client, turn, 1)
                turn.granted.set_result(None)

    def _fits(self, client: _Client, sequences: int, blocks: int) -> bool:
        """An idle engine takes any one sequence."""
        if not self._running and sequences <= 1:
            return True
        capacity = self._unreserved() if client.running or sequences > 1 else self._capacity
        return capacity.hold(self._running + sequences, self._blocks + blocks)

    def _unreserved(self) -> Capacity:
        """What a client with sequences in the engine may fill."""
        shared = self._several_keys() or time.monotonic() < self._shared_until
        return self._capacity.without_reserve() if shared else self._capacity
