"""A time limit for work that cannot be interrupted, such as a library's call that waits for a network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class DeadlinePassedError(Exception):
    """The work was left to itself."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns or raises. DeadlinePassedError where it takes longer; its thread then ends when it can, and
    never keeps the process."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="deadline", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise DeadlinePassedError(f"no answer within {seconds:g} s")
    return results[0]
