"""What `make bench-quick` says of a release's ratios."""

from __future__ import annotations

import pytest
from tests.performance.compare import worse


@pytest.mark.parametrize(
    ("now", "lines"),
    [
        ({"a": 0.8, "b": 2.0}, []),  # a fifth less is noise, more is better
        ({"a": 0.79, "b": 1.0}, ["a: 0.79, 1.00 in the last release"]),
        ({"a": 1.0}, ["b: no longer measured"]),
        ({"a": 1.0, "b": 1.0, "new": 0.1}, []),
    ],
)
def test_only_what_is_worse_is_told(now: dict[str, float], lines: list[str]) -> None:
    assert worse(now, {"a": 1.0, "b": 1.0}) == lines
