"""What phases took before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stoker.store.store import Store
from stoker.store.timings import Timing, Timings


@pytest.fixture
def timings(tmp_path: Path) -> Timings:
    Store(tmp_path)
    return Timings(tmp_path)


def built(size: int, seconds: float = 0.0, precision: str = "int8") -> Timing:
    return Timing("building", "openvino", precision, size, seconds)


def test_those_of_the_size_tell(timings: Timings) -> None:
    assert timings.expected(built(1000)) is None
    timings.record([built(1000, 10.0), built(4000, 60.0)])
    timings.record([built(1001, 12.0), built(1002, 500.0), built(1000, 9999.0, "int4")])
    assert timings.expected(built(1000)) == 12.0
    assert timings.expected(Timing("loading", "openvino", "int8", 1000, 0.0)) is None


def test_of_another_size_a_fixed_part_and_a_part_by_size_tell(timings: Timings) -> None:
    timings.record([built(1000, 3.0)])
    assert timings.expected(built(1500)) is None, "one size tells nothing of another"
    timings.record([built(3000, 5.0)])
    assert timings.expected(built(5000)) == pytest.approx(7.0)
    assert timings.expected(built(60000)) is None, "far beyond what was measured"


def test_another_machine_s_tell_nothing(timings: Timings) -> None:
    timings.record([replace(built(1000, 3.0), machine="a")])
    assert timings.expected(replace(built(1000), machine="b")) is None
    assert timings.expected(replace(built(1000), machine="a")) == 3.0


def test_only_the_last_few_are_kept(timings: Timings, tmp_path: Path) -> None:
    for seconds in range(100):
        timings.record([built(1000, float(seconds))])
    assert timings.expected(built(1000)) == 97.0
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == []
    assert len((tmp_path / "timings.json").read_bytes()) < 1000


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'[{"phase": "building"}]', b"\xff\x00", b'[{"bytes": "x"}]'])
def test_a_file_that_says_nothing_is_as_good_as_none(timings: Timings, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "timings.json").write_bytes(content)
    assert timings.expected(built(1000)) is None
    timings.record([built(1000, 3.0)])
    assert timings.expected(built(1000)) == 3.0


def test_a_cache_that_cannot_be_written_to_does_no_harm(tmp_path: Path) -> None:
    Timings(tmp_path / "nowhere").record([built(1, 1.0)])
    assert Timings(tmp_path / "nowhere").expected(built(1)) is None
