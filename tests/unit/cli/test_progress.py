"""What the log says of phases."""

from __future__ import annotations

import logging
import re

import pytest

from stoker.cli.progress import LogProgress, TerminalProgress, time_text


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [re.sub(r"\d+\.\d s$", "N s", record.getMessage()) for record in caplog.records]


def test_each_phase_is_told_when_it_begins_and_with_its_seconds_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "stoker")
    progress = LogProgress()
    for name in ("building", "building", "loading", "warming", "ready", "loading", "ready", "draining", "building"):
        progress.phase(name)
    told = ["started in N s", "building", "building", "built in N s", "loading", "loaded in N s", "warming"]
    told += ["warmed up in N s", "ready", "was ready for N s", "loading", "loaded in N s", "ready"]
    assert lines(caplog) == [*told, "was ready for N s", "draining"]
    closing = vars(caplog.records[3])["fields"]
    assert closing["phase"] == "building"
    assert closing["seconds"] >= 0


@pytest.mark.parametrize(
    ("following", "said"), [("failed", "building failed after N s"), ("draining", "building was stopped after N s")]
)
def test_a_phase_that_did_not_end_well_is_not_called_over(
    caplog: pytest.LogCaptureFixture, following: str, said: str
) -> None:
    caplog.set_level(logging.INFO, "stoker")
    progress = LogProgress()
    progress.phase("building")
    progress.phase(following)
    assert said in lines(caplog)


@pytest.mark.parametrize(
    ("elapsed", "expected", "said"),
    [
        (2.0, 10.0, "about 8 s left"),
        (12.0, 10.0, "12 s elapsed"),
        (3.4, 0.0, "3 s elapsed"),
        (9.5, 10.0, "10 s elapsed"),
    ],
)
def test_time_left_is_told_only_where_it_is_known(elapsed: float, expected: float, said: str) -> None:
    assert time_text(elapsed, expected) == said


def test_a_path_with_brackets_is_shown_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the library that draws the bar, they would be colours."""
    monkeypatch.setenv("COLUMNS", "100")
    progress = TerminalProgress()
    progress.phase("downloading", "a[/b] [red]c")
    progress.advance(1, 2)
    progress.phase("ready")
    assert "downloading a[/b] [red]c" in capsys.readouterr().err
