"""Signals of commands that hold something which has to be ended with them."""

from __future__ import annotations

import signal
import threading


def end_like_ctrl_c() -> None:
    """SIGTERM and SIGHUP unwind the stack, so that what was started is stopped on the way. One that is ignored, as
    SIGHUP is under nohup, stays so."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, unwind)


def cancel_like_ctrl_c(cancel: threading.Event) -> None:
    """SIGTERM and Ctrl-C set `cancel`, at which building and measuring end. A second one unwinds the stack: what is at
    work, such as a download, may not look at `cancel`."""

    def stop(number: int, frame: object) -> None:
        if cancel.is_set():
            unwind(number, frame)
        cancel.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def unwind(number: int, _: object) -> None:
    """Like Ctrl-C, but with its own exit code: every `finally` on the way ends what it started."""
    raise SystemExit(128 + number)
