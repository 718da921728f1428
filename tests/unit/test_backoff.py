"""Waiting between attempts."""

from __future__ import annotations

from stoker.backoff import backoff


def test_each_failure_doubles_the_wait_up_to_the_longest() -> None:
    assert [backoff(failures, 0.5, 3.0) for failures in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_what_fails_for_days_is_still_tried_again() -> None:
    """2 ** 1024 is more than a float holds."""
    assert backoff(100_000, 0.1, 10.0) == 10.0
