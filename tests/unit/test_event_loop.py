"""Other threads and an event loop that may have ended, and signals that come while one runs."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Iterator

import pytest
from tests.waiting import SECONDS

from stoker.event_loop import call_in_loop, run_interruptible


def test_it_is_called_in_the_loops_thread() -> None:
    async def run() -> int:
        called: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        loop, thread = asyncio.get_running_loop(), threading.get_ident

        def other() -> None:
            call_in_loop(loop, lambda given: called.set_result(given + thread()), 0)

        await asyncio.to_thread(other)
        return await called

    assert asyncio.run(run()) == threading.get_ident()


def test_a_loop_that_has_ended_is_not_told() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    call_in_loop(loop, lambda: None)


class Told(asyncio.Protocol):
    """Is sent a signal in the middle of a callback."""

    def __init__(self, number: int) -> None:
        self._number = number

    def data_received(self, data: bytes) -> None:
        signal.raise_signal(self._number)


async def tell(number: int, seconds: float) -> str:
    ours, theirs = socket.socketpair()
    with theirs:
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: Told(number), sock=ours)
        try:
            theirs.send(b"x")
            await asyncio.sleep(seconds)
        finally:
            transport.close()
    return "went on"


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def unwind(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("number", "handler", "ended"),
    [(signal.SIGTERM, unwind, SystemExit), (signal.SIGINT, signal.default_int_handler, KeyboardInterrupt)],
)
def test_a_signal_in_the_middle_of_a_callback_is_not_lost(number: int, handler, ended: type[BaseException]) -> None:
    signal.signal(number, handler)
    with pytest.raises(ended):
        run_interruptible(tell(number, SECONDS))
    assert signal.getsignal(number) is handler


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("fails", [False, True])
def test_a_signal_at_the_very_end_goes_before_what_the_work_came_to(fails: bool) -> None:
    async def last() -> int:
        signal.raise_signal(signal.SIGTERM)
        return 1 // (not fails)

    signal.signal(signal.SIGTERM, unwind)
    with pytest.raises(SystemExit):
        run_interruptible(last())


@pytest.mark.usefixtures("handlers")
def test_a_signal_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert run_interruptible(tell(signal.SIGINT, 0.1)) == "went on"
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_work_that_is_cancelled_otherwise_is_cancelled() -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_interruptible(cancelled())
