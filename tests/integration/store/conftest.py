"""Real servers that engines are kept in: Debian's docker-registry, moto's S3, Python's web server; and bad networks."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.loading import load
from tests.ports import free_port
from tests.waiting import wait_until

from stoker.store.engine import SCHEMA, Engine, Manifest
from stoker.store.key import digest_of
from stoker.store.store import Store

ROOT = Path(__file__).parents[3]
USER, PASSWORD = "stoker", "sesame"
HTPASSWD = f"{USER}:$2b$04$oMPtD9dfZutZ4CZGMYKsKONtw1Q8gMIyVHPAH92WaeHs.FNiHPnVO\n"


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until something answers there, whatever it says."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            time.sleep(0.05)
            continue
        return
    raise AssertionError(f"nothing answers at {url}")


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/", process)
            yield
        finally:
            process.kill()


def registry_program() -> str:
    """Debian's own build of the distribution registry; unpacked into .venv where it is not installed."""
    if found := shutil.which("docker-registry"):
        return found
    unpacked = ROOT / ".venv" / "docker-registry"
    if not (unpacked / "usr/bin/docker-registry").exists():
        if not shutil.which("apt-get"):
            pytest.skip("docker-registry is Debian's package")
        sys.path.insert(0, str(ROOT / "tools"))
        try:
            import setup as tools_setup

            unpacked.mkdir(parents=True, exist_ok=True)
            tools_setup.unpack_package("docker-registry", unpacked)
            (unpacked / "unpacked" / "usr").rename(unpacked / "usr")
        finally:
            sys.path.pop(0)
    return str(unpacked / "usr/bin/docker-registry")


class Proxy:
    """A network between a client and a server on loopback that can be cut, slowed down and counted."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.sent = 0
        self.cut_after: int | None = None
        self.bytes_per_second: float | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self._target)) as server:
            upstream = threading.Thread(target=self._pump, args=(client, server, False), daemon=True)
            upstream.start()
            self._pump(server, client, True)

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if counted and self.cut_after is not None and self.sent + len(data) > self.cut_after:
                    sink.shutdown(socket.SHUT_RDWR)
                    return
                if counted and self.bytes_per_second:
                    time.sleep(len(data) / self.bytes_per_second)
                sink.sendall(data)
                self.sent += len(data) if counted else 0
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """A socket that is only closed listens on for a thread that waits for it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def proxy() -> Iterator[Callable[[int], Proxy]]:
    proxies: list[Proxy] = []

    def make(target: int) -> Proxy:
        proxies.append(Proxy(target))
        return proxies[-1]

    yield make
    for each in proxies:
        each.close()


class Place:
    """One kind of remote: `address` of a port that leads to it, and its files on this disk."""

    def __init__(self, port: int, scheme: str, path: str, root: Path) -> None:
        self.port = port
        self._scheme = scheme
        self._path = path
        self.root = root

    def address(self, port: int | None = None) -> str:
        """s3:// has no port: the endpoint is AWS's own variable."""
        port = port or self.port
        if self._scheme == "s3":
            os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
            return f"s3://{self._path}"
        return f"file://{self.root}" if self._scheme == "file" else f"{self._scheme}://127.0.0.1:{port}/{self._path}"


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """It wants a password, which is where `docker login` puts it."""
    folder = tmp_path_factory.mktemp("registry")
    port = free_port()
    (folder / "htpasswd").write_text(HTPASSWD)
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "auth": {"htpasswd": {"realm": "engines", "path": str(folder / "htpasswd")}},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    with running([registry_program(), "serve", str(folder / "config.yml")], port):
        yield Place(port, "oci", "team/engines", folder / "data")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[int]:
    port = free_port()
    with running([sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port):
        yield port


@pytest.fixture
def s3(s3_server: int, credentials: Path) -> Place:
    import boto3

    bucket = f"engines-{uuid.uuid4().hex}"
    place = Place(s3_server, "s3", f"{bucket}/prefix", Path())
    place.address()
    boto3.client("s3").create_bucket(Bucket=bucket)
    return place


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Place]:
    """A static web server, which knows no ranges: the whole file comes, and the wanted part is cut out."""
    root, port = tmp_path / "web", free_port()
    root.mkdir()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(root)]
    with running(command, port):
        yield Place(port, "http", "", root)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """As the ecosystem keeps them: docker's config, AWS's variables. Returns docker's file."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "")
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    return tmp_path / "config.json"


@pytest.fixture
def log_in(credentials: Path) -> Callable[[int], None]:
    """What `docker login 127.0.0.1:PORT` does."""

    def write(port: int) -> None:
        known = json.loads(credentials.read_text())["auths"] if credentials.exists() else {}
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        credentials.write_text(json.dumps({"auths": {**known, f"127.0.0.1:{port}": {"auth": auth}}}))

    return write


@pytest.fixture
def place(request: pytest.FixtureRequest, log_in: Callable[[int], None]) -> Place:
    """The kind of remote that the test is parametrized with."""
    found: Place = request.getfixturevalue(request.param)
    log_in(found.port)
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Place:
    (tmp_path / "share").mkdir()
    return Place(0, "file", "", tmp_path / "share")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, credentials: Path) -> Iterator[Any]:
    """The stand-in for the Hugging Face Hub."""
    from huggingface_hub import close_session

    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    close_session()
    with load("hub_server", ROOT / "tests" / "hub_server.py").HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
        close_session()


@pytest.fixture
def publish() -> Callable[..., Engine]:
    """Puts an engine of random bytes into a store; those of `shared` are the same in every engine."""

    def make(store: Store, name: str = "demo", size: int = 1 << 20, shared: bytes = b"") -> Engine:
        inputs = {"name": name}
        key = f"{name}-openvino-int8-{digest_of(inputs)}"
        manifest = Manifest(SCHEMA, key, "openvino", name, "1", {"precision": "int8"}, inputs, {})
        with store.workspace() as workspace:
            (workspace / "weights.bin").write_bytes(os.urandom(size))
            (workspace / "graph").mkdir()
            (workspace / "graph" / "model.xml").write_bytes(shared or b"<net/>")
            return store.publish(workspace, manifest)

    return make


def below(pid: int) -> list[int]:
    """Every process below one, whichever of its threads started it."""
    found, parents = [], [pid]
    while parents:
        parent = parents.pop()
        try:
            tasks = list(Path(f"/proc/{parent}/task").iterdir())
            own = [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except OSError:
            continue
        found += own
        parents += own
    return found


@pytest.fixture(scope="session", name="wait_until")
def wait_until_fixture() -> Callable[..., float]:
    return wait_until


@pytest.fixture(scope="session")
def halt_build() -> Iterator[Callable[[int], int]]:
    """Stops the build of a process in the middle, while the process itself goes on; returns the worker's pid. One that
    was stopped before it asked to end with its parent has to be ended here."""
    stopped: list[int] = []

    def halt(pid: int) -> int:
        found: list[int] = []

        def halted() -> bool:
            for each in below(pid):
                with contextlib.suppress(OSError):
                    if b"openvino.build.worker" in Path(f"/proc/{each}/cmdline").read_bytes():
                        os.kill(each, signal.SIGSTOP)
                        found.append(each)
            return bool(found)

        wait_until(halted, "building")
        stopped.extend(found)
        return found[0]

    yield halt
    for pid in stopped:
        with contextlib.suppress(OSError):
            if b"openvino.build.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def rounds(quick: int, full: int) -> int:
    """How often a test repeats: `make soak` sets SOAK."""
    return full if os.environ.get("SOAK") else quick


@pytest.fixture(scope="session", name="rounds")
def rounds_fixture() -> Callable[[int, int], int]:
    return rounds


started: list[subprocess.Popen[bytes]] = []


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    """Ends what a failed test would leave running."""
    yield
    while started:
        process = started.pop()
        process.kill()
        process.wait()


class Cli:
    """`stoker` in processes of their own, on one cache."""

    def __init__(self, cache: Path, environment: dict[str, str]) -> None:
        self.cache = cache
        self._environment = environment

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self._environment}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "stoker", *arguments, "--cache", str(self.cache)]

    def run(self, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        command = [*prefix, *self.command(*arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=self.environment, timeout=300, check=False)

    def start(self, *arguments: str, log: Path, prefix: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        with log.open("w") as file:
            command = [*prefix, *self.command(*arguments)]
            started.append(subprocess.Popen(command, stdout=file, stderr=file, env=self.environment))
        return started[-1]

    def remains(self) -> list[str]:
        """What must not be there once nothing runs any more."""
        folders = [self.cache / name for name in ("tmp", "locks", "partial")]
        return [str(path) for folder in folders if folder.is_dir() for path in folder.iterdir()]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "cache", {})


@pytest.fixture
def served_model(hub: Any) -> str:
    """The demo model as a repository of the hub's stand-in."""
    from stoker.resolve.local import DEMO_DIRECTORY

    files = {path.name: path.read_bytes() for path in DEMO_DIRECTORY.iterdir() if path.is_file()}
    hub.add_repository("org/demo", files)
    return "org/demo"


@pytest.fixture(scope="session")
def make_cli() -> Callable[..., Cli]:
    return lambda cache, **environment: Cli(cache, environment)
