"""`up` builds the image and serves, with whichever compose is here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.containers.engine import ENGINE, call, complete, wait_for
from tests.ports import free_port

ROOT = Path(__file__).parents[2]


def compose_command() -> list[str]:
    if ENGINE == "docker":
        return ["docker", "compose"]
    flags = f"--format=docker {os.environ.get('IMAGE_BUILD_FLAGS', '')}".strip()
    return [sys.executable, "-m", "podman_compose", f"--podman-build-args={flags}"]


def compose(project: str, port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    files = ("-f", str(ROOT / "compose.yaml"), "-f", str(Path(__file__).with_name("compose.host.yaml")))
    command = [*compose_command(), "-p", project, *files, *arguments]
    environment = {**os.environ, "PORT": str(port), "MEMORY": "4g"}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=600, check=False)


@pytest.fixture
def project() -> Iterator[tuple[str, int]]:
    name, port = f"stoker-test-{uuid.uuid4().hex[:8]}", free_port()
    yield name, port
    compose(name, port, "down", "--volumes")


def test_up_serves_the_demo(project: tuple[str, int]) -> None:
    name, port = project
    up = compose(name, port, "up", "--build", "--detach")
    assert up.returncode == 0, up.stdout + up.stderr
    wait_for(f"http://127.0.0.1:{port}/v1/health/ready")
    assert complete(f"http://127.0.0.1:{port}")
    container = call(ENGINE, "ps", "--filter", f"name={name}", "--format={{.Names}}").stdout.split()
    assert len(container) == 1
    state = json.loads(call(ENGINE, "inspect", container[0]).stdout)[0]
    assert state["HostConfig"]["ReadonlyRootfs"]
    assert state["HostConfig"]["Memory"] == 4 << 30
    assert compose(name, port, "down", "--volumes").returncode == 0
    assert call(ENGINE, "ps", "--all", "--filter", f"name={name}", "--format={{.Names}}").stdout == ""


@pytest.mark.parametrize("profile", ["gpu", "monitoring"])
def test_the_profiles_are_valid(profile: str) -> None:
    shown = compose("stoker-test", 1, "--profile", profile, "config")
    assert shown.returncode == 0, shown.stderr
    assert "read_only: true" in shown.stdout
