"""A real Dynamo around real workers: `make test-fleet`. STOKER_DYNAMO_PYTHON names a Python that has ai-dynamo."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.served import Served, Started

from stoker.fleet.dynamo.process import PYTHON

NAMESPACE = "tests"
F32 = ("--precision", "f32", "--kv-precision", "f32")  # what else runs in a step changes no answer
STOKER = [sys.executable, "-m", "stoker"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    python = os.environ.get(PYTHON)
    if python is None or shutil.which(python) is None:
        raise pytest.UsageError(f"{PYTHON} does not name a Python with ai-dynamo: use `make test-fleet`")
    missing = [name for name in ("etcd", "nats-server") if shutil.which(name) is None]
    if missing:
        raise pytest.UsageError(f"not installed: {', '.join(missing)} (Debian has etcd-server and nats-server)")


class Frontend(Started):
    """Dynamo's, on a port of its own."""

    def __init__(self, folder: Path, environment: dict[str, str], mode: str) -> None:
        self.port = free_port()
        options = ["--http-port", str(self.port), "--router-mode", mode, "--migration-limit", "3"]
        command = [os.environ[PYTHON], "-m", "dynamo.frontend", "--namespace", NAMESPACE, *options]
        super().__init__(command, folder / f"frontend-{mode}.log", environment)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_serving(self) -> None:
        self.wait_until(lambda: self.status("/health") == 200 and "demo" in self.page("/v1/models"))

    def page(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return str(answer.read().decode())

    def metric(self, name: str) -> float:
        """The sum over all labels."""
        lines = [line for line in self.page("/metrics").splitlines() if line.startswith((name + "{", name + " "))]
        assert lines, name
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


@dataclass
class Fleet:
    folder: Path
    environment: dict[str, str]
    kv: Frontend
    by_chance: Frontend
    workers: list[Served] = field(default_factory=list)
    made: int = 0

    def add_worker(self) -> Served:
        """Returns at once; `ready` says when it has joined."""
        self.made += 1
        folder = self.folder / f"worker-{self.made}"
        folder.mkdir()
        (folder / "cache").symlink_to(self.folder / "cache")
        worker = Served(STOKER, "demo", [*F32, "--dynamo", NAMESPACE], folder, self.environment)
        self.workers.append(worker)
        return worker

    def wait_until_joined(self, worker: Served, times: int = 1) -> None:
        worker.wait_until(lambda: worker.output.count("joined Dynamo's namespace") == times)

    def complete_up_to(self, count: int) -> None:
        """So many workers that have joined."""
        self.workers = [each for each in self.workers if each.process.poll() is None]
        for _ in range(count - len(self.workers)):
            self.wait_until_joined(self.add_worker())


def end(*started: Started) -> None:
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables that lead to a running etcd and NATS."""
    folder = tmp_path_factory.mktemp("planes")
    client, peer, nats = free_port(), free_port(), free_port()
    urls = [f"http://127.0.0.1:{port}" for port in (client, peer)]
    etcd = ["etcd", "--data-dir", str(folder / "etcd"), "--listen-client-urls", urls[0]]
    etcd += ["--advertise-client-urls", urls[0], "--listen-peer-urls", urls[1]]
    etcd += ["--initial-advertise-peer-urls", urls[1], "--initial-cluster", f"default={urls[1]}"]
    commands = [etcd, ["nats-server", "-a", "127.0.0.1", "-p", str(nats), "-js", "-sd", str(folder / "nats")]]
    with contextlib.ExitStack() as stack:
        for command in commands:
            log = stack.enter_context((folder / f"{command[0]}.log").open("w"))
            process = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log))
            stack.callback(process.kill)
        yield {"ETCD_ENDPOINTS": urls[0], "NATS_SERVER": f"nats://127.0.0.1:{nats}", "DYN_LOG": "warn"}


@pytest.fixture(scope="session")
def fleet(environment: dict[str, str]) -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "cache").mkdir()
        fronts = [Frontend(folder, environment, mode) for mode in ("kv", "random")]
        made = Fleet(folder, environment, *fronts)
        stack.callback(lambda: end(*fronts, *made.workers))
        made.complete_up_to(2)
        for front in fronts:
            front.wait_until_serving()
        yield made
        for worker in made.workers:
            assert worker.stop() == 0, worker.output
