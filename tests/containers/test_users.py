"""Whoever runs it, wherever its cache is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.containers.engine import HARDENED, complete, run

USERS = {"its own": (), "root": ("--user=0",), "any with group 0": ("--user=123456:0",)}


@pytest.mark.parametrize("user", USERS.values(), ids=USERS)
def test_serves_hardened_from_a_fresh_volume(start, volume: str, user: tuple[str, ...]) -> None:
    """Read-only root file system, no capabilities, no new privileges."""
    container = start("demo", flags=(*HARDENED, *user, f"--volume={volume}:/cache")).wait_ready()
    assert complete(container.url)
    assert container.exec("touch", "/opt/here").returncode != 0
    status = container.exec("cat", "/proc/1/status").stdout
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


def test_users_of_group_0_share_a_cache(volume: str) -> None:
    """What one built the next one finds and may add to, in any order."""
    for precision, user in zip(("int8", "int4", "bf16"), ("0", "123456:0", "1000:0"), strict=True):
        flags = (f"--user={user}", f"--volume={volume}:/cache")
        built = run("build", "demo", "--precision", precision, flags=flags)
        assert built.returncode == 0, built.stderr
        for other in ("0", "1000:0", "654321:0"):
            found = run("build", "demo", "--precision", precision, flags=(f"--user={other}", flags[1]))
            assert "found the engine" in found.stderr, found.stderr


def test_a_cache_of_somebody_elses_is_an_error_that_says_what_to_change(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    os.chown(tmp_path, 4321, 4321)
    refused = run("demo", flags=("--user=1000:0", f"--volume={tmp_path}:/cache"))
    assert refused.returncode == 73
    assert "cannot write to the cache directory /cache" in refused.stderr
    assert "owned by user 4321" in refused.stderr
    assert "chown -R 1000:0" in refused.stderr
    assert "Traceback" not in refused.stderr
    os.chown(tmp_path, 1000, 0)  # what the error says
    assert run("build", "demo", flags=("--user=1000:0", f"--volume={tmp_path}:/cache")).returncode == 0


def test_a_cache_that_is_mounted_read_only_is_an_error_that_says_so(filled: str) -> None:
    flags = (f"--volume={filled}:/cache:ro",)
    assert run("build", "demo", flags=flags).returncode == 0, "what it holds is found"
    refused = run("build", "demo", "--precision", "int4", flags=flags)
    assert refused.returncode == 73
    assert "Read-only file system" in refused.stderr
