"""Offline means that no connection is made: in an empty network namespace, and by every process's own record."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.loading import python_path

ALONE = ("unshare", "--net")
HERE = Path(__file__).parent


@pytest.fixture
def recorded(make_cli, tmp_path: Path):
    """A cache whose processes write down what they connect to."""
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no network namespaces here")
    record = tmp_path / "connections"
    cli = make_cli(tmp_path / "cache", PYTHONPATH=python_path(HERE / "recording"), RECORDED_CONNECTIONS=str(record))
    return cli, record


def connections(record: Path) -> str:
    return record.read_text() if record.exists() else ""


def test_offline_makes_no_connection_and_needs_none(recorded, served_model, tmp_path: Path) -> None:
    cli, record = recorded
    online = cli.run("build", served_model)
    assert online.returncode == 0, online.stderr
    assert "socket.connect" in connections(record)  # the record works
    record.unlink()
    remotes = ("--remotes", "oci://registry.invalid/engines,https://files.invalid/engines,hf://org/engines")
    for arguments in (("build", served_model), ("generate", served_model, "--prompt", "Hello", "--max-tokens", "4")):
        offline = cli.run(*arguments, "--offline", prefix=ALONE)
        assert offline.returncode == 0, offline.stderr
    (engine,) = (cli.cache / "engines").iterdir()
    engine.rename(tmp_path / "elsewhere")
    rebuilt = cli.run("build", served_model, "--offline", *remotes, prefix=ALONE)
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert connections(record) == ""


def test_offline_without_the_model_says_so_and_makes_no_connection(recorded) -> None:
    cli, record = recorded
    answer = cli.run("build", "org/demo", "--offline")
    assert answer.returncode == 66
    assert "offline mode fetches nothing" in answer.stderr
    assert connections(record) == ""
