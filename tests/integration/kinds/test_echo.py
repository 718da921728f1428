"""The package of docs/architecture.md, installed beside Stoker: a kind that no file of Stoker mentions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.loading import python_path
from tests.served import Served

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "architecture.md"
FILE = re.compile(r"^`(pyproject\.toml|stoker_echo/\w+\.py)`.*?^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Stoker = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The page's files as a package, installed by pip into a folder that comes before Stoker's own packages."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    (source / "stoker_echo").mkdir()
    for name, text in FILE.findall(PAGE.read_text()):
        (source / name).write_text(text)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, timeout=300)
    return {"PYTHONPATH": python_path(target)}


@pytest.fixture(scope="module")
def stoker(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Stoker:
    cache = tmp_path_factory.mktemp("cache")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stoker", *arguments, "--cache", str(cache)],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def test_the_page_has_every_file() -> None:
    names = [name for name, _ in FILE.findall(PAGE.read_text())]
    modules = ("__init__", "planning", "worker", "engine", "runtime", "host")
    assert names == ["pyproject.toml", *(f"stoker_echo/{name}.py" for name in modules)]


def test_no_file_of_stoker_mentions_the_kind() -> None:
    sources = [*(ROOT / "entrypoint").rglob("*.py"), *(ROOT / "profiles").rglob("*.yaml")]
    assert [path for path in sources if re.search(r"stoker[_-]echo|echo kind|kind echo", path.read_text())] == []


def test_it_is_planned_when_asked_for(stoker: Stoker) -> None:
    found = stoker("plan", "demo", "--engine", "echo", "--json")
    assert found.returncode == 0, found.stderr
    plan = json.loads(found.stdout)
    assert (plan["chosen"]["engine"], plan["chosen"]["profile"]) == ("echo", "echo-f32-throughput")
    assert "answers with the prompt: no weights are read" in plan["reasons"]


def test_another_kind_is_taken_when_it_is_not(stoker: Stoker) -> None:
    plan = json.loads(stoker("plan", "demo", "--json").stdout)
    assert plan["chosen"]["engine"] == "openvino"


def test_it_answers_a_chat_through_triton(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stoker"]
    with Served(command, "demo", ["--engine", "echo"], tmp_path, environment).running() as server:
        body = {"model": "demo", "messages": [{"role": "user", "content": "Is there a sea?"}], "max_tokens": 200}
        request = urllib.request.Request(
            f"{server.url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            choice = json.load(answer)["choices"][0]
        assert "Is there a sea?" in choice["message"]["content"]
        assert choice["finish_reason"] == "stop"


def test_it_generates_without_a_server(stoker: Stoker) -> None:
    found = stoker("generate", "demo", "--prompt", "Is there a sea?", "--engine", "echo")
    assert found.returncode == 0, found.stderr
    assert "Is there a sea?" in found.stdout


def test_it_is_measured(stoker: Stoker) -> None:
    load = ("--streams", "1", "--prompt-tokens", "16", "--output-tokens", "8", "--rounds", "1")
    found = stoker("bench", "demo", "--kinds", "echo", *load, "--json")
    assert found.returncode == 0, found.stderr
    (measured,) = json.loads(found.stdout)["measured"]
    assert (measured["kind"], measured["profile"]) == ("echo", "echo-f32-throughput")


def test_it_is_deployed_by_its_own_image(stoker: Stoker) -> None:
    found = stoker("manifest", "kubernetes", "demo", "--engine", "echo", "--machine", "cpu:4c-8g")
    assert found.returncode == 0, found.stderr
    documents = list(yaml.safe_load_all(found.stdout))
    (pod,) = [each["spec"]["template"]["spec"] for each in documents if each["kind"] == "Deployment"]
    (container,) = [each for each in pod["containers"] if each["image"] == "registry.example.com/stoker-echo:1.0"]
    assert "--engine=echo" in container["args"] or "--profile=echo-f32-throughput" in container["args"]


def test_the_doctor_knows_it(stoker: Stoker) -> None:
    checks = {(check["name"], check["found"]) for check in json.loads(stoker("doctor", "--json").stdout)}
    assert ("echo", "there is always an echo") in checks
    (installed,) = [found for name, found in checks if name == "engine kinds"]
    assert "echo" in installed.partition(";")[0].split(", ")


def test_help_imports_no_kind(environment: dict[str, str]) -> None:
    program = """
import contextlib, sys
from stoker.cli import main
with contextlib.suppress(SystemExit):
    main(["--help"])
print([name for name in sys.modules if name.startswith(("stoker_echo", "stoker.kinds"))])
"""
    found = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert found.stdout.strip().endswith("[]"), found.stdout + found.stderr


def test_a_broken_package_is_a_warning_that_names_it(tmp_path: Path) -> None:
    info = tmp_path / "acme_kinds-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-kinds\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[stoker.kinds]\nabacus = acme_kinds:KIND\n")
    (tmp_path / "acme_kinds.py").write_text("import no_such_library\n")
    command = [sys.executable, "-m", "stoker", "plan", "demo", "--cache", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": python_path(tmp_path)}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stderr
    assert "the engine kind abacus of the package acme-kinds is not used" in found.stderr
    assert "no_such_library" in found.stderr
    assert "Traceback" not in found.stderr
