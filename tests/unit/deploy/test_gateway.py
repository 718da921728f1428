"""deploy/gateway and deploy/kserve: kustomize takes them, their pods are valid, and they name what is there.

No validator has the custom kinds' schemas: of these, what refers to something else is compared with it.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from stoker.serve.http.app import OTHER_PATHS

DEPLOY = Path(__file__).parents[3] / "deploy"


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())
    return document


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_the_pool_selects_the_pods_of_the_base_by_the_port_that_they_have():
    answer = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY / "gateway")], capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    documents = {each["kind"]: each for each in yaml.safe_load_all(answer.stdout)}
    pool, template = documents["InferencePool"]["spec"], documents["Deployment"]["spec"]["template"]
    assert pool["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (container,) = template["spec"]["containers"]
    assert pool["targetPorts"] == [{"number": port["containerPort"]} for port in container["ports"]]
    backend = documents["HTTPRoute"]["spec"]["rules"][0]["backendRefs"][0]
    assert (backend["kind"], backend["name"]) == ("InferencePool", documents["InferencePool"]["metadata"]["name"])


def test_the_runtime_is_a_valid_pod_that_is_asked_on_paths_that_exist():
    spec = read("kserve/runtime.yaml")["spec"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}
    pod["spec"] = {"containers": spec["containers"], "volumes": spec["volumes"]}
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
    (container,) = spec["containers"]
    probes = [container[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert set(probes) <= set(OTHER_PATHS)


def test_the_example_names_the_runtime_and_a_format_that_it_takes():
    runtime, service = read("kserve/runtime.yaml"), read("kserve/service.yaml")
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"]["name"] in {each["name"] for each in runtime["spec"]["supportedModelFormats"]}
