from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker import Runner


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def engine_dir(cache: Path) -> Path:
    """The demo model's engine, as `stoker build` prints it."""
    command = [sys.executable, "-m", "stoker", "build", "demo", "--cache", str(cache)]
    return Path(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.strip())


@pytest.fixture(scope="session")
def runner(engine_dir: Path) -> Iterator[Runner]:
    with Runner.from_dir(engine_dir) as runner:
        yield runner
