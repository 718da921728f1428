"""Caches that are far away, and networks that are not there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path

import pytest
from tests.containers.engine import complete, run
from tests.hub_server import HubServer

DEMO = Path(__file__).parents[2] / "entrypoint/stoker/resolve/demo"
DELAY_SECONDS = "0.01"  # of each operation: a slow network file system's


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system that takes its time."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no /dev/fuse to be slow with")
    if not find_library("fuse3") and not find_library("fuse"):
        pytest.skip("no libfuse: apt install libfuse3-3")
    source, mount = tmp_path / "source", tmp_path / "mount"
    source.mkdir()
    mount.mkdir()
    os.chown(source, 1000, 0)
    program = Path(__file__).with_name("slow_filesystem.py")
    server = subprocess.Popen([sys.executable, program, source, mount, DELAY_SECONDS], stderr=subprocess.DEVNULL)
    while not mount.is_mount():
        assert server.poll() is None
        time.sleep(0.05)
    yield mount
    subprocess.run(["umount", "--lazy", mount], check=True)
    server.terminate()
    server.wait(10)


def test_builds_on_a_slow_network_file_system_and_serves_from_it(slow: Path, start) -> None:
    flags = (f"--volume={slow}:/cache",)
    container = start("demo", flags=flags).wait_ready()
    assert complete(container.url)
    found = run("build", "demo", flags=flags)
    assert "found the engine" in found.stderr


def test_serves_without_a_network_once_the_cache_is_filled(start, volume: str) -> None:
    cache = f"--volume={volume}:/cache"
    with HubServer() as hub:
        hub.add_repository("org/tiny", {file.name: file.read_bytes() for file in DEMO.iterdir()})
        built = run("build", "org/tiny", flags=(cache, f"--env=HF_ENDPOINT={hub.url}"))
        assert built.returncode == 0, built.stderr
        assert hub.content_bytes > 0
    container = start("org/tiny", flags=(cache,), network="none").wait_ready()
    script = f"""
import json, urllib.request
body = json.dumps({{"model": "org/tiny", "prompt": "Once"}}).encode()
request = urllib.request.Request("{container.url}/v1/completions", body, {{"Content-Type": "application/json"}})
print(json.load(urllib.request.urlopen(request, timeout=60))["choices"][0]["text"])
"""
    answer = container.exec("python3", "-c", script)
    assert answer.stdout.strip(), answer.stderr
    assert "found the engine" in container.output


def test_without_a_network_and_with_an_empty_cache_the_error_says_what_is_missing(volume: str) -> None:
    refused = run("org/tiny", flags=(f"--volume={volume}:/cache",), network="none")
    assert refused.returncode == 75
    assert refused.stderr.splitlines()[-1].startswith("hint: ")
