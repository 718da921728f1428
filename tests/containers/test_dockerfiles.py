"""The Dockerfiles, by hadolint."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["cpu", "nvidia", "torch", "vllm"])
def test_hadolint_has_nothing_to_say(name: str) -> None:
    program = Path(sysconfig.get_path("scripts"), "hadolint")
    found = subprocess.run(
        [program, f"images/{name}/Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout) == (0, "")
