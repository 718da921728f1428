"""Signals that end a command, and one that its caller wants ignored."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from stoker.cli.signals import cancel_like_ctrl_c, end_like_ctrl_c


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_hangup_stays_ignored_under_nohup_and_sigterm_unwinds() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_like_ctrl_c()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    with pytest.raises(SystemExit) as ended:
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_to_stop_and_the_second_does_not_wait_for_it(number: signal.Signals) -> None:
    cancel = threading.Event()
    cancel_like_ctrl_c(cancel)
    signal.raise_signal(number)
    assert cancel.is_set()
    with pytest.raises(SystemExit) as ended:
        signal.raise_signal(number)
    assert ended.value.code == 128 + number
