"""The engine loop: one thread that admits, steps, delivers and drops, for as long as the stub lives.

The engine holds the interpreter's lock during a step, so that everything that must happen "within a step" happens here,
between two of them: Triton's own threads only put requests into the inbox.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from stoker.launch import contract
from stoker.launch.generation import Generation, RequestRefusedError, Scores, Top
from stoker.launch.stub.destinations import ASK_EVERY, Channel, Destination, Own, Port
from stoker.launch.stub.pacing import AskingBudget, Pacer
from stoker.launch.stub.runtime import Output, RunningSequence, Runtime
from stoker.launch.stub.wire import Sender

logger = logging.getLogger(__name__)

OBSERVE_EVERY = 0.2  # seconds, while the number of requests stays the same
Name = str | tuple[int, int]  # of a sequence: its request's id, or its channel and its handle there
CANNOT_REOPEN = 71  # the stub's exit code when a broken engine could not be opened again
BROKEN_LOOP = 72  # and when the loop itself failed


@dataclass(eq=False)  # one is itself alone: requests of two channels may be alike
class Ticket:
    """One sequence from its arrival to its end. `ids` and what belongs to them wait to be sent; `asked` is when it was
    last asked whether it has been cancelled. `moments`: of its arrival, its admission and its first token, in
    nanoseconds of time.monotonic."""

    generation: Generation
    destination: Destination
    name: Name
    sequence: RunningSequence | None = None
    produced: int = 0
    asked: float = 0.0
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    top: list[Top] = field(default_factory=list)
    prompt: Scores | None = None
    moments: list[int] = field(default_factory=lambda: [time.monotonic_ns()])

    @property
    def tokens(self) -> int:
        return len(self.generation.input_ids) + self.produced

    def read(self) -> Output:
        """What its sequence gained."""
        assert self.sequence is not None
        output = self.sequence.read()
        self.take(output)
        return output

    def pass_moment(self) -> None:
        self.moments.append(time.monotonic_ns())

    def take(self, output: Output) -> None:
        if output.ids and not self.produced:
            self.pass_moment()
            self.destination.hurry()  # the first token
        if output.over:
            self.destination.hurry()
        self.ids += output.ids
        self.log_probs += output.log_probs
        self.top += output.top
        self.prompt = output.prompt or self.prompt
        self.produced += len(output.ids)

    def flush(self, output: Output) -> None:
        log_probs = self.log_probs if self.generation.log_probs else None
        told = self._told(output.reused_blocks) if output.ended and self.generation.perf_metrics else None
        if self.top or self.prompt is not None:
            output = replace(output, top=self.top, prompt=self.prompt)
            self.top, self.prompt = [], None
        self.destination.give(self.ids, log_probs, output, told)
        self.ids, self.log_probs = [], []

    def _told(self, reused_blocks: int | None) -> dict[str, int]:
        """Nothing of a sequence that gave no token."""
        if not self.produced:
            return {}
        self.pass_moment()
        times = dict(zip(contract.TIMES, self.moments, strict=True))
        return times if reused_blocks is None else {contract.REUSED_BLOCKS: reused_blocks, **times}


@dataclass(frozen=True)
class Load:
    """`held_tokens`: prompt and produced tokens of each running sequence. `tokens` that were produced so far, and the
    `steps` of single sequences that gave some."""

    running: int
    waiting: int
    held_tokens: tuple[int, ...]
    steps: int = 0
    tokens: int = 0


class EngineLoop:
    """`observe` is told the load whenever the number of requests changed, and now and then while they run; `beat` is
    called after each step that moved something."""

    def __init__(
        self,
        open_runtime: Callable[[], Runtime],
        max_running: int,
        observe: Callable[[Load], None],
        beat: Callable[[], None],
    ) -> None:
        self._open_runtime = open_runtime
        self._runtime: Runtime = open_runtime()
        self._max_running = max_running
        self._observe = observe
        self._beat = beat
        self._inbox: deque[Callable[[], None]] = deque()
        self._stops: set[Name] = set()
        self._waiting: deque[Ticket] = deque()
        self._running: list[Ticket] = []
        self._pacer = Pacer()
        self._asking = AskingBudget()
        self._asked_at = 0.0
        self._channels: dict[int, Channel] = {}
        self._wake = threading.Condition()
        self._stopping = False
        self._dropped = False
        self._steps = self._tokens = 0
        self._observed = (-1, -1, 0.0)
        self._thread = threading.Thread(target=self._run_or_exit, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _post(self, work: Callable[[], None]) -> None:
        """Work for the loop's thread, before its next step."""
        with self._wake:
            self._inbox.append(work)
            self._wake.notify()

    def submit(self, generation: Generation, sender: Sender) -> None:
        """A request that stands alone."""
        self._post(partial(self._waiting.append, Ticket(generation, Own(sender), generation.request_id)))

    def open_channel(self, channel: int, sender: Sender) -> None:
        """`sender` gets its frames until it is cancelled, or another is opened in its place."""
        self._post(partial(self._open, channel, sender))

    def submit_to(self, channel: int, handle: int, generation: Generation) -> None:
        """A sequence of a channel; nothing without the channel, whose API process knows that it is closed."""
        self._post(partial(self._enter, channel, handle, generation, time.monotonic_ns()))

    def refuse_in(self, channel: int, handle: int, message: str) -> None:
        """Says in a channel what is wrong with a sequence that was not submitted."""
        self._post(partial(self._refuse, channel, handle, message))

    def stop_request(self, name: Name) -> None:
        """Ends one sequence without an answer; nothing if it is not there (any more). `name`: the request's id, or the
        channel and the handle."""
        self._post(partial(self._stops.add, name))

    def _open(self, channel: int, sender: Sender) -> None:
        if found := self._channels.get(channel):
            found.go_on(sender)
        else:
            self._channels[channel] = Channel(channel, sender)

    def _enter(self, channel: int, handle: int, generation: Generation, arrived: int) -> None:
        if found := self._channels.get(channel):
            name = (channel, handle)
            self._waiting.append(Ticket(generation, Port(found, handle), name, moments=[arrived]))

    def _refuse(self, channel: int, handle: int, message: str) -> None:
        if found := self._channels.get(channel):
            Port(found, handle).fail(message, refused=True)

    def stop(self) -> None:
        """Ends every request with an error, then the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def _run_or_exit(self) -> None:
        """Without its loop a stub would stay, and answer nobody: it ends, so that the supervisor starts another."""
        try:
            self._run()
        except Exception:
            logger.exception("the engine's loop failed")
            os._exit(BROKEN_LOOP)

    def _run(self) -> None:
        while self._collect():
            self._drop_stopped()
            self._drop_cancelled()
            self._admit()
            if self._running or self._dropped:  # a dropped sequence gives its cache back in a step
                self._dropped = False
                self._step()
                self._deliver()
            else:
                self._flush_channels()
            self._tell()
        self._fail_all("the engine is stopping")
        self._close_channels(list(self._channels.values()))
        self._runtime.close()

    def _collect(self) -> bool:
        """Sleeps while there is nothing to do; False when the loop is to end."""
        with self._wake:
            while not (self._inbox or self._waiting or self._running or self._stopping):
                self._wake.wait(ASK_EVERY if self._channels else None)
                self._drop_channels()
            while self._inbox:
                self._inbox.popleft()()
            return not self._stopping

    def _drop_stopped(self) -> None:
        """Those that a `stop` request named: at once, so that a client that disconnects costs no further step."""
        if self._stops:
            for ticket in [*self._running, *self._waiting]:
                if ticket.name in self._stops:
                    self._drop(ticket)
            self._stops.clear()

    def _drop_channels(self) -> None:
        """Of API processes that have gone, with all their sequences."""
        if gone := [channel for channel in self._channels.values() if channel.is_cancelled()]:
            for ticket in [*self._running, *self._waiting]:
                if ticket.destination.is_cancelled():
                    self._drop(ticket)
            self._close_channels(gone)

    def _close_channels(self, channels: list[Channel]) -> None:
        for channel in channels:
            channel.flush()
            channel.close()
            del self._channels[channel.number]

    def _drop_cancelled(self) -> None:
        """Asks Triton about as many requests as time allows, in turn."""
        self._drop_channels()
        started = time.monotonic()
        tickets = [each for each in (*self._running, *self._waiting) if isinstance(each.destination, Own)]
        allowance = self._asking.allowance(started - self._asked_at, len(tickets))
        self._asked_at = started
        tickets.sort(key=lambda ticket: ticket.asked)
        for ticket in tickets[:allowance]:
            ticket.asked = started
            if ticket.destination.is_cancelled():
                self._drop(ticket)
        self._asking.spent(allowance, time.monotonic() - started)

    def _drop(self, ticket: Ticket) -> None:
        if ticket.sequence is None:
            self._waiting.remove(ticket)
        else:
            ticket.sequence.cancel()
            self._running.remove(ticket)
            self._dropped = True
        ticket.destination.drop()

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._max_running:
            ticket = self._waiting.popleft()
            try:
                ticket.sequence = self._runtime.add(ticket.generation)
            except RequestRefusedError as error:
                ticket.destination.fail(str(error), refused=True)
            else:
                ticket.pass_moment()
                self._running.append(ticket)

    def _step(self) -> None:
        started = time.monotonic()
        moved: bool | None = True
        try:
            moved = self._runtime.step()
        except Exception as error:  # anything it raises means the same: this runtime is broken for everybody
            logger.exception("an engine step failed")
            self._fail_all(f"an engine step failed: {error}")
            self._reopen()
        if moved is False:
            return
        self._beat()
        self._pacer.stepped(time.monotonic() - started)

    def _deliver(self) -> None:
        started = time.monotonic()
        alone = sum(isinstance(ticket.destination, Own) for ticket in self._running)
        interval = self._pacer.interval(len(self._running), alone + len(self._channels))
        gained = [(ticket, ticket.read()) for ticket in self._running]
        self._steps += sum(1 for _, output in gained if output.ids)
        self._tokens += sum(len(output.ids) for _, output in gained)
        sent = sum(self._deliver_one(ticket, output, interval) for ticket, output in gained)
        self._running = [ticket for ticket, output in gained if not output.over]
        sent += self._flush_channels()
        self._pacer.sent(sent, time.monotonic() - started)

    def _deliver_one(self, ticket: Ticket, output: Output, interval: int) -> bool:
        """Gives what has come, or leaves it for a later step: never the first token, never the last. Returns whether
        that took a response."""
        if output.refused:
            ticket.destination.fail(output.refused, refused=True)
        elif output.over or (ticket.ids and ticket.destination.due(len(ticket.ids), interval)):
            ticket.flush(output)
        else:
            return False
        return isinstance(ticket.destination, Own)

    def _flush_channels(self) -> int:
        return sum(channel.flush() for channel in self._channels.values())

    def _fail_all(self, message: str) -> None:
        for ticket in [*self._running, *self._waiting]:
            ticket.destination.fail(message)
        self._running.clear()
        self._waiting.clear()

    def _reopen(self) -> None:
        """A fresh runtime in this process; when that fails, the process ends so that the supervisor starts another."""
        self._runtime.close()
        gc.collect()
        try:
            self._runtime = self._open_runtime()
        except Exception:
            logger.exception("the engine could not be opened again")
            os._exit(CANNOT_REOPEN)

    def _tell(self) -> None:
        running, waiting = len(self._running), len(self._waiting)
        now = time.monotonic()
        if (running, waiting) == self._observed[:2] and now - self._observed[2] < OBSERVE_EVERY:
            return
        self._observed = (running, waiting, now)
        held = tuple(ticket.tokens for ticket in self._running)
        self._observe(Load(running, waiting, held, self._steps, self._tokens))
