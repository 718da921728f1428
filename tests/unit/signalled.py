"""Run by test_event_loop, as `python signalled.py CASE SIGNAL`: work in an event loop that is sent a signal."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys

from stoker.event_loop import run_interruptible


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


async def tell_last(number: int, *, fails: bool) -> str:
    signal.raise_signal(number)
    if fails:
        raise ValueError("it failed")
    return "went on"


def unwind(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def main(case: str, number: int) -> None:
    signal.signal(number, signal.SIG_IGN if case == "ignored" else unwind)
    works = {
        "callback": lambda: tell(number, 240),
        "ignored": lambda: tell(number, 0.1),
        "end": lambda: tell_last(number, fails=False),
        "failure": lambda: tell_last(number, fails=True),
    }
    print(run_interruptible(works[case]()), signal.getsignal(number) is signal.SIG_IGN)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
