"""deploy/helm/stoker: by default the kustomize base's objects, with a plan's values those of `stoker manifest`."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from stoker.deploy.commented_yaml import render as render_yaml
from stoker.deploy.kubernetes import kubernetes_documents
from stoker.deploy.quantity import kubernetes_size
from stoker.deploy.types import Deployment

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy" / "helm" / "stoker"
KUSTOMIZE = ROOT / "deploy" / "kubernetes"
OF_HELM = ("helm.sh/chart", "app.kubernetes.io/managed-by")
_SPEC = importlib.util.spec_from_file_location("write_manifests", ROOT / "tools" / "write_manifests.py")
assert _SPEC is not None
write_manifests: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(write_manifests)  # type: ignore[union-attr]

needs_helm = pytest.mark.skipif(
    importlib.util.find_spec("helm_python") is None,
    reason="the Helm chart was NOT rendered: no helm-python-sdk (make setup-test; on x86-64 only)",
)


@dataclass(frozen=True)
class Rendered:
    """The documents by kind, and what a user is told."""

    documents: dict[str, Any]
    notes: str

    @property
    def container(self) -> dict[str, Any]:
        container: dict[str, Any] = self.pod["containers"][0]
        return container

    @property
    def pod(self) -> dict[str, Any]:
        pod: dict[str, Any] = self.documents["Deployment"]["spec"]["template"]["spec"]
        return pod


def helm(values: dict[str, Any], release: str = "stoker") -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).with_name("helm_renderer.py")), str(CHART), release]
    answer = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    parsed: dict[str, Any] = json.loads(answer.stdout)
    return parsed


def rendered(values: dict[str, Any], release: str = "stoker") -> Rendered:
    """Valid objects, with the labels that Helm's conventions want taken off."""
    answer = helm(values, release)
    assert "error" not in answer, answer["error"]
    assert answer["lint"] == ["icon is recommended"]
    files = {Path(name).name: text for name, text in answer["files"].items()}
    notes = files.pop("NOTES.txt")
    documents = [document for text in files.values() if (document := yaml.safe_load(text)) is not None]
    for document in documents:
        for version in ("1.29", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(document, version, strict=True)
        assert [document["metadata"]["labels"].pop(label) for label in OF_HELM] == ["stoker-0.0.0", "Helm"]
    return Rendered({document["kind"]: document for document in documents}, notes)


def plain(documents: Any) -> dict[str, Any]:
    """Without comments."""
    return {document["kind"]: document for document in yaml.safe_load_all(render_yaml(documents))}


def base() -> dict[str, Any]:
    resources = yaml.safe_load((KUSTOMIZE / "base" / "kustomization.yaml").read_text())["resources"]
    documents = [yaml.safe_load((KUSTOMIZE / "base" / name).read_text()) for name in resources]
    return {document["kind"]: document for document in documents}


def values_of(server: Deployment) -> dict[str, Any]:
    """What a user would copy from `stoker manifest`."""
    repository, tag = server.image.rsplit(":", 1)
    model, *flags = server.arguments
    sizing, pod = server.sizing, plain(kubernetes_documents(server))["Deployment"]["spec"]["template"]["spec"]
    return {
        "image": {"repository": repository, "tag": tag},
        "model": model,
        "args": flags,
        "replicas": server.replicas,
        "resources": {
            "cpu": str(sizing.cores.value),
            "memory": kubernetes_size(sizing.memory.value),
            "gpus": sizing.gpus.value,
        },
        "cache": {"size": kubernetes_size(sizing.cache.value)},
        "sharedMemory": kubernetes_size(sizing.shared_memory.value),
        "probes": {"startup": {"failureThreshold": pod["containers"][0]["startupProbe"]["failureThreshold"]}},
        "affinity": pod.get("affinity", {}),
    }


def test_the_chart_leaves_its_version_to_the_release():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == ("0.0.0", "0.0.0")
    release = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    assert "helm package deploy/helm/stoker --version" in release


@needs_helm
def test_the_defaults_are_the_base():
    assert rendered({}).documents == base()


@needs_helm
@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("overlay", write_manifests.OVERLAYS)
def test_the_values_of_a_plan_give_what_the_manifest_has(overlay, replicas):
    reference, config, machine = write_manifests.OVERLAYS[overlay]
    server = write_manifests.deployment(write_manifests.hub_model(reference, config), machine)
    server = replace(server, replicas=replicas)
    assert rendered(values_of(server)).documents == plain(kubernetes_documents(server))


@needs_helm
def test_the_autoscaler_is_the_overlays():
    overlay = KUSTOMIZE / "overlays" / "autoscaled"
    documents = rendered({"autoscaling": {"enabled": True, "runningRequests": 51}}).documents
    scaler = documents.pop("HorizontalPodAutoscaler")
    assert scaler["spec"] == yaml.safe_load((overlay / "autoscaler.yaml").read_text())["spec"]
    expected = base()
    del expected["Deployment"]["spec"]["replicas"]
    for patch in yaml.safe_load((overlay / "kustomization.yaml").read_text())["patches"]:
        for change in yaml.safe_load(patch["patch"]):
            if change["op"] == "replace":
                expected[patch["target"]["kind"]]["spec"][change["path"].rsplit("/", 1)[1]] = change["value"]
    assert documents == expected


@needs_helm
def test_names_follow_the_release():
    chat = rendered({}, release="chat")
    assert {document["metadata"]["name"] for document in chat.documents.values()} == {"chat-stoker"}
    labels = chat.documents["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        chat.documents["Service"]["spec"]["selector"],
        chat.documents["Deployment"]["spec"]["selector"]["matchLabels"],
        chat.documents["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        chat.documents["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert selectors == [labels] * 4
    assert labels["app.kubernetes.io/instance"] == "chat"
    assert chat.pod["serviceAccountName"] == "chat-stoker"
    assert chat.pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "chat-stoker"
    assert "service/chat-stoker" in chat.notes


@needs_helm
def test_an_ingress_leads_to_the_service_and_its_hosts_are_accepted():
    ingress = {"enabled": True, "className": "nginx", "hosts": ["chat.example.com", "*.example.org"]}
    tls = [{"secretName": "certificate", "hosts": ["chat.example.com"]}]
    values = {"ingress": {**ingress, "tls": tls}, "allowedHosts": ["stoker.models"], "service": {"port": 80}}
    served = rendered(values)
    spec = served.documents["Ingress"]["spec"]
    backends = [rule["http"]["paths"][0]["backend"]["service"] for rule in spec["rules"]]
    assert backends == [{"name": "stoker", "port": {"name": "http"}}] * 2
    assert [rule["host"] for rule in spec["rules"]] == ingress["hosts"]
    accepted = {"name": "STOKER_ALLOWED_HOSTS", "value": "stoker.models,chat.example.com,*.example.org"}
    assert accepted in served.container["env"]
    assert served.documents["Service"]["spec"]["ports"][0]["port"] == 80
    assert "https://chat.example.com/v1" in served.notes


@needs_helm
def test_what_exists_already_is_used():
    values = {
        "cache": {"existingClaim": "models"},
        "serviceAccount": {"create": False, "name": "theirs"},
        "apiKey": {"secret": "keys", "key": "all", "required": True},
        "huggingFace": {"secret": "hub", "key": "hf"},
        "networkPolicy": {"enabled": False},
        "disruptionBudget": {"enabled": False},
    }
    served = rendered(values)
    assert set(served.documents) == {"Deployment", "Service"}
    assert (served.pod["serviceAccountName"], served.pod["automountServiceAccountToken"]) == ("theirs", False)
    assert served.pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "models"
    secrets = [variable["valueFrom"]["secretKeyRef"] for variable in served.container["env"]]
    assert secrets == [
        {"name": "hub", "key": "hf", "optional": True},
        {"name": "keys", "key": "all", "optional": False},
    ]


@needs_helm
def test_every_other_value_reaches_its_place():
    digest = "sha256:" + "0" * 64
    values = {
        "image": {"repository": "registry.example/stoker", "digest": digest, "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "env": [{"name": "STOKER_LOG_FORMAT", "value": "json"}],
        "envFrom": [{"configMapRef": {"name": "more"}}],
        "resources": {"gpus": 2, "gpuResource": "nvidia.com/mig-1g.10gb"},
        "cache": {"storageClass": "-", "accessMode": "ReadWriteMany", "keep": True},
        "extraVolumes": [{"name": "keys", "secret": {"secretName": "keys"}}],
        "extraVolumeMounts": [{"name": "keys", "mountPath": "/keys"}],
        "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "models", "operator": "Exists"}],
        "runtimeClassName": "nvidia",
        "priorityClassName": "high",
        "podAnnotations": {"c": "d"},
        "podLabels": {"e": "f"},
        "podSecurityContext": {"fsGroup": None},
        "serviceAccount": {"annotations": {"g": "h"}},
        "networkPolicy": {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "extraEgress": [{"ports": [{"port": 4318}]}]},
        "drainTimeout": 120,
    }
    served = rendered(values)
    container, pod, documents = served.container, served.pod, served.documents
    assert (container["image"], container["imagePullPolicy"]) == (f"registry.example/stoker@{digest}", "Always")
    assert pod["imagePullSecrets"] == values["imagePullSecrets"]
    assert {"name": "STOKER_DRAIN_TIMEOUT", "value": "120"} in container["env"]
    assert container["env"][-1:] == values["env"]
    assert container["envFrom"] == values["envFrom"]
    assert container["resources"]["limits"] == {"memory": "1541Mi", "nvidia.com/mig-1g.10gb": "2"}
    assert [one["key"] for one in pod["tolerations"]] == ["nvidia.com/gpu", "models"]
    claim = documents["PersistentVolumeClaim"]
    assert (claim["spec"]["storageClassName"], claim["spec"]["accessModes"]) == ("", ["ReadWriteMany"])
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert pod["volumes"][-1:] == values["extraVolumes"]
    assert container["volumeMounts"][-1:] == values["extraVolumeMounts"]
    assert documents["Service"]["spec"]["type"] == "LoadBalancer"
    assert documents["Service"]["metadata"]["annotations"] == {"a": "b"}
    assert pod["nodeSelector"] == values["nodeSelector"]
    assert (pod["runtimeClassName"], pod["priorityClassName"]) == ("nvidia", "high")
    head = documents["Deployment"]["spec"]["template"]["metadata"]
    assert (head["annotations"]["c"], head["labels"]["e"]) == ("d", "f")
    assert "fsGroup" not in pod["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert documents["ServiceAccount"]["metadata"]["annotations"] == {"g": "h"}
    policy = documents["NetworkPolicy"]["spec"]
    assert policy["ingress"][0]["from"] == [{"ipBlock": {"cidr": "10.0.0.0/8"}}]
    assert policy["egress"][-1] == {"ports": [{"port": 4318}]}
    assert pod["terminationGracePeriodSeconds"] == 5 + 120 + 20


@needs_helm
@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"modle": "demo"}, "modle"),
        ({"model": "--offline"}, "model"),
        ({"resources": {"gpus": "one"}}, "gpus"),
        ({"resources": {"memory": "8 GB"}}, "memory"),
        ({"ingress": {"enabled": True}}, "hosts"),
        ({"cache": {"accessMode": "Many"}}, "accessMode"),
        ({"env": [{"name": "STOKER_PORT", "value": 8001}]}, "/env/0/value"),
        ({"networkPolicy": {"from": []}}, "networkPolicy/from"),
        ({"autoscaling": {"enabled": True}}, "autoscaling.runningRequests is required"),
    ],
)
def test_bad_values_are_refused_by_name(values, named):
    assert named in helm(values)["error"]


@needs_helm
def test_the_notes_say_what_is_missing():
    notes = rendered({}).notes
    assert "No registry has the image stoker:cpu" in notes
    assert "create secret generic stoker --from-literal=api-key=" in notes
    ready = rendered({"image": {"repository": "registry.example/stoker"}, "apiKey": {"required": True}}).notes
    assert "registry has" not in ready
    assert "Without an API key" not in ready
