"""deploy/kubernetes: what kustomize makes of it is valid, and is what `stoker manifest` would write."""

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "kubernetes"
TARGETS = ["base", *sorted(f"overlays/{path.name}" for path in (FOLDER / "overlays").iterdir())]
_SPEC = importlib.util.spec_from_file_location("write_manifests", ROOT / "tools" / "write_manifests.py")
assert _SPEC is not None
write_manifests: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(write_manifests)  # type: ignore[union-attr]

needs_kustomize = pytest.mark.skipif(
    not shutil.which("kubectl") and not shutil.which("kustomize"), reason="neither kubectl nor kustomize is installed"
)


def build(target: str) -> dict[str, Any]:
    """The documents by kind; a warning counts as a failure."""
    command = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    answer = subprocess.run([*command, str(FOLDER / target)], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    return {document["kind"]: document for document in yaml.safe_load_all(answer.stdout)}


def server_of(documents: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = documents["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return container


def flag(container: dict[str, Any], name: str) -> int:
    return next(int(word.split("=")[1]) for word in container["args"] if word.startswith(f"--{name}="))


def test_the_written_files_are_current():
    stale = [str(path.relative_to(ROOT)) for path, text in write_manifests.texts().items() if path.read_text() != text]
    assert stale == [], "run `make docs`"


@needs_kustomize
@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_clean_and_valid(target):
    documents = build(target)
    for document in documents.values():
        for version in ("1.29", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(document, version, strict=True)
    labels = documents["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert documents["Service"]["spec"]["selector"].items() <= labels.items()


@needs_kustomize
@pytest.mark.parametrize("target", TARGETS)
def test_every_volume_that_is_mounted_is_there(target):
    documents = build(target)
    for kind in ("Deployment", "Job"):
        if kind in documents:
            pod = documents[kind]["spec"]["template"]["spec"]
            mounts = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
            assert mounts == {volume["name"] for volume in pod["volumes"]} == {"cache", "shm", "tmp"}


@needs_kustomize
def test_several_gpus_are_asked_for_and_used():
    container = server_of(build("overlays/nvidia-multi-gpu"))
    gpus = flag(container, "tensor-parallel") * flag(container, "pipeline-parallel")
    assert gpus > 1
    assert container["resources"]["limits"]["nvidia.com/gpu"] == str(gpus)


@needs_kustomize
def test_the_autoscaler_scales_before_the_batch_is_full_and_on_metrics_that_we_have():
    documents = build("overlays/autoscaled")
    scaler = documents["HorizontalPodAutoscaler"]["spec"]
    targets = {one["pods"]["metric"]["name"]: int(one["pods"]["target"]["averageValue"]) for one in scaler["metrics"]}
    exported = (ROOT / "docs" / "metrics.md").read_text()
    assert [name for name in targets if f"| `{name}` | gauge |" not in exported] == []
    batch = flag(server_of(documents), "max-batch-size")
    assert 0.7 * batch <= targets["num_requests_running"] < batch
    assert "replicas" not in documents["Deployment"]["spec"]
    assert documents["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]


@needs_kustomize
def test_what_is_prebuilt_is_what_is_served():
    documents = build("overlays/prebuilt")
    server, job = server_of(documents), documents["Job"]["spec"]["template"]["spec"]
    builder = job["containers"][0]
    for same in ("image", "args", "resources", "securityContext", "volumeMounts"):
        assert builder[same] == server[same]
    assert builder["command"] == ["stoker", "build"]
    assert {"name": "STOKER_OFFLINE", "value": "true"} in server["env"]
    assert documents["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
