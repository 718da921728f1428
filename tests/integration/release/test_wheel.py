"""The wheel has all that serving takes: built, installed into an empty folder, and served from there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.served import Served

ROOT = Path(__file__).parents[3]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "entrypoint", "profiles")  # what images are made of, too
VERSION = "1.2.3"
BLOCK = re.compile(r"^<!-- run by: tests/integration/release/test_wheel.py[^\n]*-->\n```(\w*)\n(.*?)^```$", re.M | re.S)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From a copy without git, as in the images' builds; the packages that Stoker needs are those of the tests."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in SOURCES:
        path = ROOT / name
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, source / name)
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", "dist"]
    environment = {**os.environ, "SETUPTOOLS_SCM_PRETEND_VERSION": VERSION}
    subprocess.run(build, cwd=source, env=environment, check=True, timeout=300)
    (wheel,) = (source / "dist").iterdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True, timeout=300)
    return target


def test_the_wheel_has_the_version(installed: Path) -> None:
    code = "import stoker; print(stoker.__version__, stoker.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=installed, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == [VERSION, str(installed / "stoker" / "__init__.py")]


def first_steps() -> Iterator[tuple[str, str]]:
    """Language and code of the blocks that say that this file runs them."""
    for page in ("README.md", "docs/getting-started.md"):
        yield from BLOCK.findall((ROOT / page).read_text())


def test_the_installed_wheel_serves_what_the_first_steps_say(installed: Path, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(installed), "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    command = tmp_path / "stoker"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m stoker "$@"\n')
    command.chmod(0o755)
    with Served([str(command)], "demo", (), tmp_path, environment).running() as server:
        for language, code in first_steps():
            if "make serve" not in code and ("curl" not in code or shutil.which("curl")):
                run_block(language, code.replace("http://127.0.0.1:8000", server.url), environment, tmp_path)
        assert server.stop() == 0


def run_block(language: str, code: str, environment: dict[str, str], folder: Path) -> None:
    program = [sys.executable, "-c", code] if language == "python" else ["sh", "-e", "-c", code]
    done = subprocess.run(
        program, env={**os.environ, **environment}, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
    assert done.stdout.strip() or "health" in code
