"""Signals of commands that hold something which has to be ended with them."""

from __future__ import annotations

import signal


def end_like_ctrl_c() -> None:
    """SIGTERM and SIGHUP unwind the stack, so that what was started is stopped on the way. One that is ignored, as
    SIGHUP is under nohup, stays so."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _unwind)


def _unwind(number: int, _: object) -> None:
    raise SystemExit(128 + number)
