"""Signals that end a command, and one that its caller wants ignored. In processes of their own: they do end them."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

HANGUP = """
import signal
from stoker.cli.signals import end_like_ctrl_c
signal.signal(signal.SIGHUP, signal.SIG_IGN)
end_like_ctrl_c()
signal.raise_signal(signal.SIGHUP)
try:
    signal.raise_signal(signal.SIGTERM)
finally:
    print("unwound")
"""
TWICE = """
import signal, sys, threading
from stoker.cli.signals import cancel_like_ctrl_c
cancel, number = threading.Event(), int(sys.argv[1])
cancel_like_ctrl_c(cancel)
signal.raise_signal(number)
print("cancelled" if cancel.is_set() else "ignored")
try:
    signal.raise_signal(number)
finally:
    print("unwound")
"""


def ran(code: str, *arguments: str) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout.split()


def test_a_hangup_stays_ignored_under_nohup_and_sigterm_unwinds() -> None:
    assert ran(HANGUP) == (128 + signal.SIGTERM, ["unwound"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_to_stop_and_the_second_does_not_wait_for_it(number: signal.Signals) -> None:
    assert ran(TWICE, str(int(number))) == (128 + number, ["cancelled", "unwound"])
