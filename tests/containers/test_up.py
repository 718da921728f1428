"""`stoker up`, `status` and `down` against a real container engine, through its API socket."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from openai import OpenAI
from tests.containers.engine import ENGINE, IMAGE, call
from tests.hub_server import HubServer
from tests.ports import free_port
from tests.waiting import SECONDS

import stoker as package

SOCKET_SECONDS = 20
DEMO = Path(package.__file__).parent / "resolve" / "demo"


@pytest.fixture(scope="module")
def docker_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Docker's own socket; podman's service is started, which listens at one of ours."""
    if ENGINE != "podman":
        yield os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        return
    path = tmp_path_factory.mktemp("podman") / "podman.sock"
    with subprocess.Popen([ENGINE, "system", "service", "--time=0", f"unix://{path}"]) as service:
        deadline = time.monotonic() + SOCKET_SECONDS
        while not path.exists():
            assert time.monotonic() < deadline, "podman's service does not listen"
            time.sleep(0.05)
        yield f"unix://{path}"
        service.terminate()


@dataclass(frozen=True)
class Cli:
    """The `stoker` command of this source tree, on a model name, a port and a volume of its own."""

    docker_host: str
    name: str
    port: int
    volume: str

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DOCKER_HOST": self.docker_host}
        command = [sys.executable, "-m", "stoker", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)

    def up(
        self, *flags: str, model: str = "demo", image: str = IMAGE, volume: str = ""
    ) -> subprocess.CompletedProcess[str]:
        place = (f"--port={self.port}", f"--volume={volume or self.volume}", f"--image={image}")
        return self("up", model, f"--served-model-name={self.name}", *place, *flags)

    def rows(self) -> list[dict[str, Any]]:
        document: list[dict[str, Any]] = json.loads(self("status", "--json").stdout)
        return [row for row in document if row["model"] == self.name]


@pytest.fixture
def stoker(docker_host: str) -> Iterator[Cli]:
    name = f"up-{uuid.uuid4().hex[:8]}"
    cli = Cli(docker_host, name, free_port(), f"stoker-test-{name}")
    yield cli
    call(ENGINE, "rm", "--force", f"stoker-{name}")
    call(ENGINE, "volume", "rm", "--force", cli.volume)


def chat(stoker: Cli) -> str | None:
    client = OpenAI(base_url=f"http://127.0.0.1:{stoker.port}/v1", api_key="none")
    answer = client.chat.completions.create(model=stoker.name, messages=[{"role": "user", "content": "Who are you?"}])
    return answer.choices[0].message.content


def test_from_nothing_to_a_chat_answer_and_down_again(stoker: Cli) -> None:
    answer = stoker.up()
    assert (answer.returncode, answer.stdout) == (0, f"http://127.0.0.1:{stoker.port}\n"), answer.stderr
    phases = [line.split()[2] for line in answer.stderr.splitlines() if " INFO " in line]
    told = [phase for phase in phases if phase in ("building", "loading", "warming", "ready")]
    assert told == ["building", "loading", "warming", "ready"]
    assert chat(stoker)

    [row] = stoker.rows()
    assert row == {
        **row,
        "state": "ready",
        "url": f"http://127.0.0.1:{stoker.port}",
        "container": f"stoker-{stoker.name}",
    }
    again = stoker.up()
    assert (again.returncode, again.stdout) == (0, answer.stdout), again.stderr
    other = stoker.up("--max-seq-len=1k")
    assert other.returncode == 69
    assert "is already up" in other.stderr
    assert [row] == stoker.rows()

    down = stoker("down", stoker.name)
    assert (down.returncode, down.stdout) == (0, f"{stoker.name} is down\n"), down.stderr
    assert stoker.rows() == []
    assert call(ENGINE, "volume", "inspect", stoker.volume).returncode == 0
    assert stoker("down", stoker.name).returncode == 69


def test_the_container_may_do_little(stoker: Cli) -> None:
    assert stoker.up().returncode == 0
    container = f"stoker-{stoker.name}"
    [found] = json.loads(call(ENGINE, "inspect", container).stdout)
    assert found["HostConfig"]["ReadonlyRootfs"]
    status = call(ENGINE, "exec", container, "cat", "/proc/1/status").stdout
    assert {line.split()[1] for line in status.splitlines() if line.startswith("Cap")} == {"0" * 16}
    assert "NoNewPrivs:\t1" in status
    assert int(found["HostConfig"]["ShmSize"]) >= 512 << 20


def test_a_hub_model_is_downloaded_once_then_served_without_the_hub(
    stoker: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On the host's network, for the hub is at this host's loopback. What is planned here is what is fetched there."""
    monkeypatch.setenv("STOKER_CACHE", str(tmp_path / "cache"))
    with HubServer() as hub:
        commit = hub.add_repository("org/tiny", {file.name: file.read_bytes() for file in DEMO.iterdir()})
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        answer = stoker.up("--network=host", model="org/tiny")
        assert answer.returncode == 0, answer.stderr
        [found] = json.loads(call(ENGINE, "inspect", f"stoker-{stoker.name}").stdout)
        assert found["Config"]["Cmd"][0] == f"org/tiny@{commit}"
        assert stoker("down", stoker.name).returncode == 0
    again = stoker.up("--network=host", "--offline", model="org/tiny")
    assert again.returncode == 0, again.stderr
    assert chat(stoker)


def test_keys_tls_a_management_port_and_stored_responses_reach_the_server(stoker: Cli, tmp_path: Path) -> None:
    authority, secrets, kept, management = trustme.CA(), tmp_path / "secrets", tmp_path / "kept", free_port()
    for folder, mode in ((tmp_path, 0o755), (secrets, 0o755), (kept, 0o777)):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(secrets / "server.pem")
    (secrets / "keys").write_text("team-a sesame\n")
    files = (f"--tls-cert={secrets}/server.pem", f"--api-key-file={secrets}/keys", f"--response-store={kept}")
    answer = stoker.up(*files, f"--management-port={management}")
    assert (answer.returncode, answer.stdout) == (0, f"https://127.0.0.1:{stoker.port}\n"), answer.stderr
    assert [row["state"] for row in stoker.rows()] == ["ready"]
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with httpx.Client(base_url=f"https://127.0.0.1:{stoker.port}", verify=context, timeout=SECONDS) as client:
        body = {"model": stoker.name, "input": "Hello", "max_output_tokens": 4, "store": True}
        assert client.post("/v1/responses", json=body).status_code == 401
        stored = client.post("/v1/responses", json=body, headers={"x-api-key": "sesame"}, timeout=60)
        assert stored.status_code == 200, stored.text
    assert "stoker_" in httpx.get(f"http://127.0.0.1:{management}/metrics").text
    assert any(kept.iterdir())
    health = call(ENGINE, "exec", f"stoker-{stoker.name}", "stoker", "health")
    assert health.returncode == 0, health.stdout


def test_a_taken_port_is_told_and_leaves_nothing(stoker: Cli) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", stoker.port))
        listener.listen()
        answer = stoker.up()
    assert answer.returncode == 69
    assert f"port {stoker.port} of 127.0.0.1 cannot be used" in answer.stderr
    assert stoker.rows() == []


def test_an_image_that_cannot_be_had_is_told(stoker: Cli) -> None:
    answer = stoker.up(image="registry.invalid/stoker:none")
    assert answer.returncode == 69
    assert "error: there is no image registry.invalid/stoker:none" in answer.stderr
    assert "hint: " in answer.stderr
    assert stoker.rows() == []


def test_a_server_that_fails_has_the_last_word(stoker: Cli, tmp_path: Path) -> None:
    """Its cache is a directory that it may not write."""
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o555)
    if cache.stat().st_gid == 0:
        os.chown(cache, 4321, 4321)
    tmp_path.chmod(0o755)
    answer = stoker.up(volume=str(cache))
    assert answer.returncode == 73, answer.stderr
    assert "/cache" in answer.stderr
    assert "hint: " in answer.stderr
    assert [row["state"] for row in stoker.rows()] == ["exited"]
    assert stoker("down", stoker.name).returncode == 0
    assert stoker.rows() == []
