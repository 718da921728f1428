"""`--engine KIND`, STOKER_ENGINE and the file: every command that plans follows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stoker import cli
from stoker.bench.cases import Asked, choose_case, offers, parse_kinds
from stoker.bench.types import Case, Workload
from stoker.cli.arguments import command_parser, parse
from stoker.cli.bench import kinds_from
from stoker.errors import UsageError
from stoker.plan.overrides import overrides_of
from stoker.settings.layers import Settings, load_settings
from stoker.settings.spec import BY_NAME

PLANNING = ("serve", "plan", "build", "export", "generate", "bench", "manifest", "up")
MACHINE = ("--machine", "cpu:4c-8g")


@pytest.fixture(params=["flag", "variable", "file"])
def asking(request: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Arguments that ask for a kind, after the environment was set where that does."""

    def ask(kind: str) -> list[str]:
        if request.param == "variable":
            monkeypatch.setenv("STOKER_ENGINE", kind)
            return []
        if request.param == "flag":
            return ["--engine", kind]
        (tmp_path / "stoker.yaml").write_text(f"engine: {kind}\n")
        return ["--config", str(tmp_path / "stoker.yaml")]

    return ask


@pytest.mark.parametrize("command", PLANNING)
def test_every_command_that_plans_takes_it(command: str, asking: Any) -> None:
    assert command in BY_NAME["engine"].applies_to
    first = ("format", ("docker",)) if command == "manifest" else None
    parser = command_parser(command, "", first=first)
    _, settings = parse(parser, [*(["docker"] if first else []), "demo", *asking("torch")])
    override = overrides_of(settings).engine
    assert override is not None
    assert override.value == "torch"


@pytest.mark.parametrize("kind", ["openvino", "torch"])
def test_the_plan_is_of_that_kind(kind: str, asking: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["plan", "demo", "--json", *MACHINE, *asking(kind)]) == 0
    assert json.loads(capsys.readouterr().out)["chosen"]["engine"] == kind


def test_the_manifest_is_of_that_kind(asking: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["manifest", "docker", "demo", "--image", "mine", *MACHINE, *asking("torch")]) == 0
    assert "--profile=torch-" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["plan", "demo"], ["manifest", "docker", "demo"]])
def test_an_unknown_kind_is_refused_with_those_that_are_known(
    command: list[str], asking: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*command, *MACHINE, *asking("opnvino")]) == 64
    assert "openvino" in capsys.readouterr().err


def settings_with(engine: str, environ: dict[str, str] | None = None) -> Settings:
    return load_settings({"model": "demo", "engine": engine or None}, environ or {})


def test_bench_measures_that_kind_alone() -> None:
    for settings in (settings_with("torch"), settings_with("", {"STOKER_ENGINE": "torch"})):
        assert parse_kinds(kinds_from(None, settings), None) == (Asked("torch", ""),)
    assert kinds_from(None, settings_with("")) is None


def test_bench_s_own_list_comes_before_the_variable_and_contradicts_the_flag() -> None:
    assert kinds_from("openvino", settings_with("", {"STOKER_ENGINE": "torch"})) == "openvino"
    with pytest.raises(UsageError, match="--kinds and --engine"):
        kinds_from("openvino", settings_with("torch"))


def test_a_case_is_planned_for_its_own_kind_whatever_the_variable_says() -> None:
    settings = settings_with("", {"STOKER_ENGINE": "torch", "STOKER_PRECISION": "f32"})
    case = choose_case(Asked("openvino", "int8"), offers(), settings, Workload(16, 16, (1,), (0,), 1, 1))
    assert isinstance(case, Case), case
    assert (case.kind, case.precision) == ("openvino", "int8")
