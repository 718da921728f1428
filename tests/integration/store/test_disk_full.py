"""A disk that fills up at every point of a download and a build: a clear error, and the space is given back."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

SIZE = 256 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@contextmanager
def crowded(disk: Path, left: int) -> Iterator[None]:
    """Somebody else fills the disk, except for `left` bytes."""
    balloon = disk / "balloon"
    with balloon.open("wb") as file:
        for _ in range(100):  # others write meanwhile
            with suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, max(4096, shutil.disk_usage(disk).free - left))
                break
    try:
        yield
    finally:
        balloon.unlink()


def used(disk: Path) -> int:
    return shutil.disk_usage(disk).used


def check_failure(code: int, log: Path) -> None:
    said = log.read_text()
    assert code == 74, said
    assert re.search(
        r"^error: .*(disk|does not fit|stored|written|room).*\nhint: .*(disk|space|room)", said, re.MULTILINE
    ), said
    assert "Traceback" not in said


def test_a_disk_that_fills_up_while_downloading(
    small_disk, make_cli, hub, served_model, tmp_path, rounds, wait_until
) -> None:
    cli, log = make_cli(small_disk / "cache"), tmp_path / "log"
    weights = hub.size("org/demo")
    hub.pause = 0.002
    points = rounds(2, 10)
    for point in range(points):
        process = cli.start("build", served_model, log=log)
        wait_until(lambda: list(small_disk.rglob("*.incomplete")), "downloading")
        with crowded(small_disk, weights * point // (points + 1)):
            check_failure(process.wait(120), log)
        assert cli.remains() == []
        assert list(small_disk.rglob("*.incomplete")) == []
    hub.pause = 0
    assert cli.run("build", served_model).returncode == 0
    assert cli.run("engines", "verify").returncode == 0


def test_a_disk_that_fills_up_while_building(small_disk, make_cli, tmp_path, rounds, halt_build) -> None:
    ample = make_cli(tmp_path / "ample")
    assert ample.run("build", "demo").returncode == 0
    engine = sum(path.stat().st_size for path in (ample.cache / "engines").rglob("*"))
    cli, log, points = make_cli(small_disk / "cache"), tmp_path / "log", rounds(2, 10)
    for point in range(points):
        process = cli.start("build", "demo", log=log)
        worker = halt_build(process.pid)
        with crowded(small_disk, engine * point // (points + 1)):
            os.kill(worker, signal.SIGCONT)
            check_failure(process.wait(120), log)
        assert cli.remains() == []
        assert used(small_disk) < 1 << 20
    assert cli.run("build", "demo").returncode == 0
    assert cli.run("engines", "verify").returncode == 0


def test_a_disk_that_is_too_small_from_the_start(small_disk, make_cli, tmp_path) -> None:
    cli, log = make_cli(small_disk / "cache"), tmp_path / "log"
    with crowded(small_disk, 16 << 20):
        check_failure(cli.start("build", "demo", log=log).wait(120), log)
        assert "prune" in log.read_text()
    assert cli.remains() == []
