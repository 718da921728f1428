"""The written manifests run until they answer: by `podman kube play`, by a shell, and by compose."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.containers.engine import ENGINE, IMAGE, READY_SECONDS, call, complete
from tests.containers.test_compose import compose_command
from tests.ports import free_port

BASE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "base"
MACHINE = "cpu:2c-4g"
Documents = list[dict[str, Any]]

needs_podman = pytest.mark.skipif(not shutil.which("podman"), reason="only podman plays Kubernetes' documents")


def base() -> Documents:
    if shutil.which("kubectl"):
        text = call("kubectl", "kustomize", str(BASE)).stdout
    else:
        names = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
        text = "\n---\n".join((BASE / name).read_text() for name in names)
    return list(yaml.safe_load_all(text))


def written() -> Documents:
    return list(yaml.safe_load_all(stoker("manifest", "kubernetes", "demo", "--machine", MACHINE)))


def stoker(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "stoker", *arguments], capture_output=True, text=True, check=True
    ).stdout


def wait_ready(url: str, container: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _is_ready(url):
        answer = call(ENGINE, "logs", container)
        assert time.monotonic() < deadline, answer.stdout + answer.stderr
        time.sleep(0.2)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v1/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Played:
    """Documents under names of their own, published at a port of this host; `url` is where they answer."""

    def __init__(self, documents: Documents, folder: Path) -> None:
        self.name = f"stoker-test-{uuid.uuid4().hex[:8]}"
        self.port = free_port()
        self.volumes = [f"{self.name}-shm", f"{self.name}-tmp"]
        self.file = folder / "play.yaml"
        self.file.write_text(yaml.safe_dump_all(self._own(documents)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def container(self) -> str:
        return f"{self.name}-pod-0-stoker"

    def _own(self, documents: Documents) -> Documents:
        for document in documents:
            document["metadata"]["name"] = self.name
        pod = next(one for one in documents if one["kind"] == "Deployment")["spec"]["template"]["spec"]
        container = pod["containers"][0]
        container |= {"image": IMAGE if "/" in IMAGE else f"localhost/{IMAGE}", "imagePullPolicy": "Never"}
        container["ports"] = [{"containerPort": 8000, "hostPort": self.port, "hostIP": "127.0.0.1"}]
        for volume in [*pod["volumes"], *container["volumeMounts"]]:
            volume["name"] = f"{self.name}-{volume['name']}"
            volume.get("persistentVolumeClaim", {})["claimName"] = self.name
        return documents

    def play(self) -> None:
        self._make_empty_directories()
        answer = call("podman", "kube", "play", str(self.file))
        assert answer.returncode == 0, answer.stderr

    def _make_empty_directories(self) -> None:
        """Kubernetes opens an emptyDir to the pod's group; podman before 5 makes it root's."""
        mounts = [f"--volume={name}:/new/{name}" for name in self.volumes]
        paths = [f"/new/{name}" for name in self.volumes]
        flags = ("--rm", "--network=none", "--user=0", "--entrypoint=chmod", *mounts)
        assert call("podman", "run", *flags, IMAGE, "1777", *paths).returncode == 0

    def wait_ready(self) -> None:
        wait_ready(self.url, self.container)

    def remove(self) -> None:
        call("podman", "kube", "down", str(self.file))
        call("podman", "pod", "rm", "--force", f"{self.name}-pod-0")
        call("podman", "volume", "rm", "--force", self.name, *self.volumes)


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[[Documents], Played]]:
    servers: list[Played] = []

    def begin(documents: Documents) -> Played:
        servers.append(Played(documents, tmp_path))
        servers[-1].play()
        return servers[-1]

    yield begin
    for server in servers:
        server.remove()


@needs_podman
@pytest.mark.parametrize("documents", [base, written], ids=["base", "manifest"])
def test_it_becomes_ready_and_answers_within_its_limits(documents: Callable[[], Documents], play: Any) -> None:
    played = play(documents())
    played.wait_ready()
    assert complete(played.url)
    [found] = json.loads(call("podman", "inspect", played.container).stdout)
    pod = next(one for one in yaml.safe_load_all(played.file.read_text()) if one["kind"] == "Deployment")
    limits = pod["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert found["HostConfig"]["Memory"] == int(limits["memory"].removesuffix("Mi")) << 20
    assert found["HostConfig"]["ReadonlyRootfs"]
    status = call("podman", "exec", played.container, "cat", "/proc/1/status").stdout
    assert re.search(r"^Uid:\s+1000\s", status, re.MULTILINE)
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    if documents is written:
        inside_is_as_planned(played)


def inside_is_as_planned(played: Played) -> None:
    """The server plans again, within the limits that its manifest computed for it."""
    with urllib.request.urlopen(f"{played.url}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    blocks, batch = (_gauge(metrics, name) for name in ("stoker_kv_blocks", "num_request_max"))
    planned = json.loads(stoker("plan", "demo", "--machine", MACHINE, "--json"))
    assert batch == planned["chosen"]["max_batch_size"]
    assert planned["memory"]["kv_blocks"] <= blocks <= 1.05 * planned["memory"]["kv_blocks"]


def _gauge(metrics: str, name: str) -> float:
    found = re.search(rf"^{name}{{.*}} (\S+)$", metrics, re.MULTILINE)
    assert found, f"no {name}"
    return float(found[1])


def test_the_written_docker_command_runs_as_it_is(tmp_path: Path) -> None:
    """Without the names of container and volume, which other tests may use."""
    name, port = f"stoker-test-{uuid.uuid4().hex[:8]}", free_port()
    script = stoker("manifest", "docker", "demo", "--port", str(port), "--image", IMAGE)
    script = script.replace("--name stoker-demo", f"--name {name}").replace("--volume stoker:", f"--volume {name}:")
    (tmp_path / "docker").symlink_to(shutil.which(ENGINE) or ENGINE)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    try:
        subprocess.run(["/bin/sh"], input=script, text=True, check=True, env=environment, stdout=subprocess.DEVNULL)
        wait_ready(f"http://127.0.0.1:{port}", name)
        assert complete(f"http://127.0.0.1:{port}")
    finally:
        call(ENGINE, "rm", "--force", name)
        call(ENGINE, "volume", "rm", "--force", name)


def test_the_written_compose_file_runs_as_it_is(tmp_path: Path) -> None:
    """Without the volume's name."""
    name, port = f"stoker-test-{uuid.uuid4().hex[:8]}", free_port()
    text = stoker("manifest", "compose", "demo", "--port", str(port), "--image", IMAGE)
    document = yaml.safe_load(text)
    document["volumes"]["cache"]["name"] = name
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    command = [*compose_command(), "-p", name, "-f", str(tmp_path / "compose.yaml")]
    try:
        subprocess.run([*command, "up", "--detach"], check=True, capture_output=True)
        container = call(ENGINE, "ps", "--filter", f"name={name}", "--format={{.Names}}").stdout.strip()
        wait_ready(f"http://127.0.0.1:{port}", container)
        assert complete(f"http://127.0.0.1:{port}")
        [found] = json.loads(call(ENGINE, "inspect", container).stdout)
        assert found["HostConfig"]["ShmSize"] == int(document["services"]["stoker"]["shm_size"].removesuffix("m")) << 20
    finally:
        subprocess.run([*command, "down", "--volumes"], check=False, capture_output=True)
