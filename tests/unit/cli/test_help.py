"""Help: short at first, grouped, and everything with --help-all."""

from __future__ import annotations

import contextlib

import pytest

from stoker import cli
from stoker.settings.groups import COMMON, GROUPS
from stoker.settings.spec import BY_NAME


@pytest.fixture(autouse=True)
def as_wide_as_most_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with contextlib.suppress(SystemExit):  # argparse ends with its help
        assert cli.run(list(arguments)) == 0
    return capsys.readouterr().out


def test_every_command_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--help-all")
    assert [command for command in cli.COMMANDS if command not in text and command != "nim-serve-ray"] == []
    assert len(shown(capsys, "--help").splitlines()) < 35


def test_a_commands_help_shows_what_most_people_use(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")  # lines are counted
    short, whole = shown(capsys, "serve", "--help"), shown(capsys, "serve", "--help-all")
    assert "usage: stoker serve [MODEL] [options]\n" in short
    assert "--port" in short
    assert "--trusted-proxies" not in short
    assert "more options: stoker serve --help-all" in short
    assert "--trusted-proxies" in whole
    assert short.index("\nserver:") < short.index("\nengine:") < short.index("\ncache:")
    assert len(short.splitlines()) < 70 < len(whole.splitlines())


def test_the_groups_name_settings_that_exist() -> None:
    named = [name for names in GROUPS.values() for name in names]
    assert sorted(named) == sorted(set(named))
    assert set(named) <= BY_NAME.keys()
    assert set(COMMON) <= BY_NAME.keys()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["lst"], "did you mean `stoker list`?"),
        (["generate", "demo", "--promt", "x"], "did you mean --prompt?"),
        (["chat", "demo", "--sytem", "x"], "did you mean --system?"),
        (["plan", "llama3.2"], "did you mean `meta-llama/Llama-3.2-3B-Instruct`?"),
        (["plan", "Qwem/Qwen2.5-7B-Instruct", "--offline"], "did you mean Qwen/Qwen2.5-7B-Instruct?"),
    ],
)
def test_a_typo_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str], typed: list[str], said: str) -> None:
    assert cli.run(typed) != 0
    assert said in capsys.readouterr().err
