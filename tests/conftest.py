"""What the programs under test inherit from the process that runs the tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Ctrl-C reaches them also where the suite runs in a shell's background, whose children ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
