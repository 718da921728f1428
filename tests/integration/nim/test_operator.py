"""What NVIDIA's NIM Operator (k8s-nim-operator, August 2026) does to a NIMCache and a NIMService, replayed.

The commands, variables and probes are those that its controllers write into pods; the names of commands are given to
`stoker` as the images' wrapper gives them (tests/unit/images). Processes run as an arbitrary user of group 0, as on
OpenShift, where this test may become one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.loading import load
from tests.ports import free_port

import stoker
import stoker.resolve

ROOT = Path(__file__).resolve().parents[3]
DEMO = Path(stoker.resolve.__file__).parent / "demo"
SOURCE = Path(stoker.__file__).parents[1]
UID = 54321
SECONDS = 120
MANIFEST = (
    "if [ -f /opt/nim/etc/default/model_manifest.yaml ]; then cat /opt/nim/etc/default/model_manifest.yaml; "
    "elif [ -f /etc/nim/config/model_manifest.yaml ]; then cat /etc/nim/config/model_manifest.yaml; "
    'else echo "model_manifest.yaml not found"; fi;'
)


class Pod:
    """Runs containers: `command` with the variables of its spec and of the image, on one volume."""

    def __init__(self, volume: Path) -> None:
        self.store = volume / "model-store"
        self.home = volume / "tmp"
        for directory in (self.store, self.home):
            directory.mkdir()
            directory.chmod(0o2775)  # fsGroup
        self._user = _arbitrary_user()
        self._image = {"PATH": os.environ["PATH"], "HOME": str(self.home), "STOKER_HOST": "127.0.0.1"}
        self._image |= {"PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(self.home)}

    def start(self, command: list[str], environ: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        arguments = [*self._user, sys.executable, "-m", "stoker", *command]
        with log.open("w") as file:
            return subprocess.Popen(
                arguments, env={**self._image, **environ}, stdout=file, stderr=file, umask=0o002, cwd=self.store
            )

    def job(self, command: list[str], environ: Mapping[str, str], log: Path) -> str:
        """A Job that must succeed; what it said."""
        assert self.start(command, environ, log).wait(SECONDS) == 0, log.read_text()
        return log.read_text()


def _arbitrary_user() -> list[str]:
    setpriv = shutil.which("setpriv")
    if os.getuid() != 0 or setpriv is None:
        return []
    user = [setpriv, "--reuid", str(UID), "--regid", "0", "--clear-groups"]
    child = "import subprocess, sys; import stoker; subprocess.run([sys.executable, '-c', ''], check=True)"
    environ = {**os.environ, "PYTHONPATH": str(SOURCE)}
    may = subprocess.run([*user, sys.executable, "-c", child], env=environ, capture_output=True, check=False, cwd="/")
    return user if may.returncode == 0 else []  # not where the interpreter is in a home that is root's alone


@pytest.fixture(scope="module")
def pod() -> Iterator[Pod]:
    with tempfile.TemporaryDirectory() as volume:
        Path(volume).chmod(0o755)
        yield Pod(Path(volume))


@pytest.fixture(scope="module")
def cached(pod: Pod, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A NIMCache of a model of the hub: constructJob with the source `hf`, of an image without a manifest."""
    files = {path.name: path.read_bytes() for path in DEMO.iterdir() if path.is_file()}
    command = ["download-to-cache", "--model-uri", "hf://acme/demo"]
    command += ["--manifest-file", f"{pod.store}/model_manifest.json"]
    with load("hub_server", ROOT / "tests" / "hub_server.py").HubServer() as hub:
        hub.add_repository("acme/demo", files)
        environ = {
            "HF_ENDPOINT": hub.url,
            "HF_HUB_OFFLINE": "0",
            "NIM_CACHE_PATH": str(pod.store),
            "HF_HOME": f"{pod.store}/huggingface/hub",
        }
        return pod.job(command, environ, tmp_path_factory.mktemp("job") / "log")


def service_environ(pod: Pod, port: int) -> dict[str, str]:
    """GetStandardEnv, what the controller adds for a cached model of the hub, and Kubernetes' links to services."""
    return {
        "NIM_CACHE_PATH": str(pod.store),
        "OUTLINES_CACHE_DIR": "/tmp/outlines",
        "NIM_SERVER_PORT": str(port),
        "NIM_HTTP_API_PORT": str(port),
        "NIM_JSONL_LOGGING": "1",
        "NIM_LOG_LEVEL": "INFO",
        "NGC_API_KEY": "nvapi-none",
        "NIM_MODEL_NAME": str(pod.store),
        "HF_HOME": f"{pod.store}/huggingface/hub",
        "NIM_MODEL_PATH": "hf://acme/demo",
        "NIM_SERVED_MODEL_NAME": "story,acme/demo",  # what the NIMService's own `env` adds
        "NIM_LLM_SERVICE_HOST": "10.0.0.1",
        "NIM_LLM_PORT": "tcp://10.0.0.1:8000",
        "HF_ENDPOINT": "http://127.0.0.1:9",  # nothing: the model must come out of the cache
    }


class NimService:
    """The container of a NIMService: the image's own command, and its probes."""

    def __init__(self, pod: Pod, log: Path) -> None:
        self.port = free_port()
        self.log = log
        self.process = pod.start(["serve"], service_environ(pod, self.port), log)

    def get(self, path: str, body: Any = None) -> tuple[int, bytes]:
        """As the operator asks, by the name of the Service."""
        headers = {"Host": f"nim-llm.nim-service.svc.cluster.local:{self.port}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def wait_for(self, path: str) -> None:
        deadline = time.monotonic() + SECONDS
        while self.get(path)[0] != 200:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def model_name(self) -> str:
        """getModelNameFromModelsList."""
        status, body = self.get("/v1/models")
        models = json.loads(body)
        assert (status, models["object"]) == (200, "list")
        if len(models["data"]) == 1:
            return str(models["data"][0]["id"])
        found = [each["id"] for each in models["data"] if each["object"] == "model" and each["root"] == each["id"]]
        return str(found[0])


@pytest.fixture(scope="module")
def service(pod: Pod, cached: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NimService]:
    one = NimService(pod, tmp_path_factory.mktemp("service") / "log")
    one.wait_for("/v1/health/live")
    one.wait_for("/v1/health/ready")
    yield one
    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(SECONDS) == 0, one.log.read_text()


def test_the_image_is_taken_for_one_that_serves_any_model() -> None:
    """By the pod that the operator starts to see which: it has no manifest."""
    said = subprocess.run(["sh", "-c", MANIFEST], capture_output=True, text=True, check=True).stdout
    assert said == "model_manifest.yaml not found\n"


def test_a_nimcache_is_filled(pod: Pod, cached: str) -> None:
    manifest = json.loads((pod.store / "model_manifest.json").read_text())
    assert manifest["model"] == "hf://acme/demo"
    assert "model.safetensors" in manifest["files"]
    assert Path(manifest["directory"]).is_relative_to(pod.store)
    assert all((Path(manifest["directory"]) / name).is_file() for name in manifest["files"])


def test_a_nimservice_becomes_ready_and_is_known_by_its_model(service: NimService) -> None:
    assert json.loads(service.get("/v1/health/ready")[1])["message"] == "Service is ready."
    name = service.model_name()
    assert name == "story"
    metadata = json.loads(service.get("/v1/metadata")[1])
    assert metadata["modelInfo"] == [{"modelUrl": "hf://acme/demo", "shortName": name}]
    assert [each["id"] for each in json.loads(service.get("/v1/models")[1])["data"]] == ["story", "acme/demo"]
    for name, expected in (("story", 200), ("acme/demo", 200), ("demo", 404)):
        body = {"model": name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}
        status, answer = service.get("/v1/chat/completions", body)
        assert status == expected, answer
        assert status == 404 or json.loads(answer)["model"] == name
    assert b"stoker_http_requests_total" in service.get("/v1/metrics")[1]


def test_it_logs_json_lines_and_warns_of_one_variable(service: NimService) -> None:
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    warnings = [line for line in lines if line["level"].lower() == "warning"]
    assert [line for line in warnings if "NIM_MODEL_NAME: NIM_MODEL_PATH says hf://acme/demo" in line["message"]]
    assert len([line for line in warnings if "NIM_" in line["message"]]) == 1


def test_a_pod_that_is_told_the_volume_alone_serves_the_same(pod: Pod, cached: str, tmp_path: Path) -> None:
    """As the controller tells the pods of several nodes."""
    environ = {"NIM_MODEL_NAME": str(pod.store), "NIM_CACHE_PATH": str(pod.store), "HF_HUB_OFFLINE": "1"}
    said = pod.job(["plan", "--json", "--log-level", "error"], environ, tmp_path / "log")
    assert json.loads(said)["model"]["reference"] == "hf://acme/demo"


def test_a_universal_nimcache_is_a_plain_directory(pod: Pod, cached: str, tmp_path: Path) -> None:
    """constructJob with a modelEndpoint: the volume is the store and the cache."""
    store = pod.store / "universal"
    environ = {"NIM_CACHE_PATH": str(pod.store), "HF_HUB_OFFLINE": "1"}
    pod.job(
        ["create-model-store", "--model-repo", "hf://acme/demo", "--model-store", str(store)], environ, tmp_path / "a"
    )
    assert (store / "config.json").is_file()
    assert not any(path.is_symlink() for path in store.iterdir())
    said = pod.job(
        ["plan", "--json", "--log-level", "error"], {**environ, "NIM_MODEL_NAME": str(store)}, tmp_path / "b"
    )
    assert json.loads(said)["model"]["reference"] == str(store)


def test_profiles_are_listed_and_their_engines_cached(pod: Pod, cached: str, tmp_path: Path) -> None:
    """What people run by hand, and constructJob with the source `ngc`."""
    environ = {"NIM_CACHE_PATH": str(pod.store), "HF_HUB_OFFLINE": "1", "NIM_MODEL_PATH": "hf://acme/demo"}
    said = pod.job(["list-model-profiles", "--json", "--log-level", "error"], environ, tmp_path / "a")
    profile = next(each["profile"] for each in json.loads(said)["profiles"] if each.get("selected"))
    said = pod.job(["download-to-cache", "--profiles", profile, "--log-level", "error"], environ, tmp_path / "b")
    assert Path(said.strip()).is_relative_to(pod.store / "engines")
