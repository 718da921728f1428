"""A release's wheel in an empty environment, with what it requires from the package index: `make test-wheel`.

Takes the wheel of STOKER_DIST (dist/ otherwise). Downloads about 300 MB.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.served import Served

ROOT = Path(__file__).parents[2]
DIST = Path(os.environ.get("STOKER_DIST", ROOT / "dist"))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with nothing but the wheel and what it says that it needs."""
    wheels = sorted(DIST.glob("*.whl"))
    assert len(wheels) == 1, f"{DIST} has {len(wheels)} wheels: run make release"
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=300)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--only-binary", ":all:"]
    subprocess.run([*pip, f"{wheels[0]}[cpu]"], check=True, timeout=1800)
    return python


def test_the_command_is_there(python: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [python.with_name("stoker"), "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[1] in next(DIST.glob("*.whl")).name


def test_it_serves_the_demo(python: Path, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": ""}
    with Served([str(python.with_name("stoker"))], "demo", (), tmp_path, environment, 300).running() as server:
        assert server.complete(max_tokens=4)["usage"]["completion_tokens"] == 4
        assert server.stop() == 0
