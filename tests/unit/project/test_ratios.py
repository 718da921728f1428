"""What `make bench-quick` says of a release's ratios."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.performance.compare import compared, keep, worse


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


def test_a_release_s_ratios_are_kept_and_compared_with(tmp_path: Path) -> None:
    kept = tmp_path / "released.json"
    text, holds = compared({"a": 1.0}, kept)
    assert holds
    assert "released.json does not exist" in text
    keep({"a": 1.0}, kept, "1.2.3", "a machine")
    assert json.loads(kept.read_text()) == {"version": "1.2.3", "machine": "a machine", "ratios": {"a": 1.0}}
    assert compared({"a": 0.9}, kept) == ("no ratio is worse than the last release's", True)
    assert compared({"a": 0.5}, kept) == ("a: 0.50, 1.00 in the last release", False)
