import json
import subprocess
import sys
from pathlib import Path

import pytest

from stoker import __version__, cli
from stoker.cli.arguments import command_parser, parse
from stoker.cli.report import failure_text, report_failure
from stoker.errors import ModelGatedError, StokerError, UsageError
from stoker.origin import Origin
from stoker.settings import foreign
from stoker.settings.spec import SETTINGS


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    assert "stoker MODEL" in capsys.readouterr().out
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"stoker {__version__}\n"


def test_no_arguments_show_the_help_and_fail(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 64
    assert "usage: stoker" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "split"),
    [
        (["serve", "demo"], ("serve", ["demo"])),
        (["demo", "--port", "1"], ("serve", ["demo", "--port", "1"])),
        (["plan", "demo"], ("plan", ["demo"])),
        (["--port", "1"], ("serve", ["--port", "1"])),
        (["org/plan"], ("serve", ["org/plan"])),
    ],
)
def test_what_is_no_command_is_a_model(arguments: list[str], split: tuple[str, list[str]]) -> None:
    assert cli.split_command(arguments) == split


@pytest.mark.parametrize(
    "command", ["serve", "plan", "build", "engines", "doctor", "bench", "generate", "manifest", "export", "up"]
)
def test_every_setting_of_a_command_is_in_its_help(command: str) -> None:
    text = command_parser(command, "").format_help()
    missing = [each.flag for each in SETTINGS if command in each.applies_to and each.flag not in text]
    assert missing == []


def test_flags_win_and_remember_that_they_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_PRECISION", "int8")
    _, settings = parse(command_parser("plan", ""), ["demo", "--precision", "int4"])
    assert settings["precision"].value == "int4"
    assert settings["precision"].origin is Origin.FLAG


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "demo", "--no-such-flag"],
        ["tune", "demo", "--try-precision", "fp9"],
        ["tune", "demo", "--try-precision", "int4", "--precision", "int8"],
        ["plan", "a", "b"],
        ["manifest", "helm", "demo"],
        ["serve", "--port", "many"],
        ["engines", "burn"],
    ],
)
def test_bad_command_lines_end_with_64_and_a_message(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 64
    assert capsys.readouterr().err.startswith("error: ")


def test_a_manifest_is_written_for_a_machine_that_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["manifest", "kubernetes", "demo", "--machine", "cpu:4c-8g", "--replicas", "2"]) == 0
    assert "replicas: 2\n" in capsys.readouterr().out
    assert cli.run(["manifest", "kubernetes", "demo", "--replicas", "0"]) == 64
    capsys.readouterr()
    assert cli.run(["manifest", "docker", "demo", "--machine", "cpu:4c-8g", "--replicas", "2"]) == 0
    assert "--replicas=2" in capsys.readouterr().out


def test_the_image_is_a_setting_and_a_local_one_is_warned_of(capsys, monkeypatch):
    command = ["manifest", "compose", "demo", "--machine", "cpu:4c-8g"]
    assert cli.run(command) == 0
    answer = capsys.readouterr()
    assert "image: stoker:cpu\n" in answer.out
    assert "docker push REGISTRY/stoker:cpu" in answer.err
    monkeypatch.setenv("STOKER_IMAGE", "registry.example/stoker:cpu")
    assert cli.run(command) == 0
    answer = capsys.readouterr()
    assert "image: registry.example/stoker:cpu\n" in answer.out
    assert "push" not in answer.out + answer.err
    assert cli.run([*command, "--image", "ghcr.io/me/stoker"]) == 0
    assert "image: ghcr.io/me/stoker\n" in capsys.readouterr().out


def test_a_failure_says_what_why_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    error = ModelGatedError("cannot read m", why="access is restricted", remedy="set HF_TOKEN")
    assert report_failure(error, log) == 77
    assert capsys.readouterr().err == "error: cannot read m: access is restricted\nhint: set HF_TOKEN\n"
    assert log.read_text() == failure_text(error) + "\n"


def test_an_unexpected_error_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_failure(ValueError("surprise"), Path("/nonexistent")) == 70
    assert "Traceback" not in capsys.readouterr().err


def test_every_error_has_an_exit_code_of_sysexits() -> None:
    def tree(error: type[StokerError]) -> list[type[StokerError]]:
        return [error, *(each for child in error.__subclasses__() for each in tree(child))]

    assert {each.exit_code for each in tree(StokerError)} <= {64, 65, 66, 69, 70, 73, 74, 75, 77, 130}
    assert UsageError.exit_code == 64


LIGHT = [
    ["--help"],
    ["serve", "--help"],
    ["plan", "--help"],
    ["bench", "--help"],
    ["manifest", "--help"],
    ["--version"],
]


@pytest.mark.parametrize("arguments", LIGHT)
def test_light_commands_load_nothing_heavy(arguments: list[str]) -> None:
    heavy = [
        "openvino",
        "nncf",
        "numpy",
        "tritonclient",
        "grpc",
        "fastapi",
        "huggingface_hub",
        "rich",
        "docker",
        "prompt_toolkit",
    ]
    program = (
        "import sys, json, contextlib, io\nfrom stoker import cli\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        f"    cli.run({arguments!r})\n"
        f"print(json.dumps([name for name in {heavy!r} if name in sys.modules]))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize(
    ("flag", "remedy"),
    [
        ("--max-model-len=4096", "--max-seq-len"),
        ("--tensor-parallel-size=2", "--tensor-parallel"),
        ("--dtype=auto", "--precision"),
        ("--gpu_memory_utilization=0.9", "the plan decides"),
        ("--enable-auto-tool-choice", "leave it out"),
        ("--max-batch-siz=3", "did you mean --max-batch-size?"),
        ("--qqqqqqqqqq", "see `stoker serve --help`"),
    ],
)
def test_flags_of_vllm_are_told_with_ours(capsys: pytest.CaptureFixture[str], flag: str, remedy: str) -> None:
    assert cli.run(["serve", "demo", flag]) == 64
    assert remedy in capsys.readouterr().err


def test_every_flag_that_is_named_instead_exists() -> None:
    names = {setting.flag for setting in SETTINGS}
    assert {ours for ours in foreign.VLLM.values() if ours.startswith("--")} <= names
    assert not {f"--{theirs}" for theirs in (*foreign.VLLM, *foreign.NOT_NEEDED)} & names


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("srve", "serve"),
        ("benhc", "bench"),
        ("engine", "engines"),
        ("docter", "doctor"),
        ("list-model-profile", "list-"),
    ],
)
def test_a_misspelt_command_is_told(capsys: pytest.CaptureFixture[str], typed: str, meant: str) -> None:
    assert cli.run([typed, "demo"]) == 64
    assert f"did you mean `stoker {meant}" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["demo", "./serve", "org/serve", "demo@1", "plan.gguf", "/models/plans"])
def test_what_may_be_a_model_is_one(model: str) -> None:
    assert cli.split_command([model]) == ("serve", [model])


def test_the_order_of_an_exports_arguments_is_that_of_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["--help"])
    told = capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.run(["export", "--help"])
    assert "[MODEL] DIR" in told
    assert "[MODEL] DIR" in capsys.readouterr().out
