"""Writes deploy/kubernetes/base and the overlays' server.yaml, with what `stoker manifest` is made of: `make docs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from stoker.deploy.commented_yaml import Document, because, noted, render
from stoker.deploy.deployment import make_deployment
from stoker.deploy.images import push_hint
from stoker.deploy.kubernetes import kubernetes_documents
from stoker.deploy.sizing import size
from stoker.deploy.types import Deployment
from stoker.kinds import kind_named, kinds_on_request, plan_kinds
from stoker.origin import Origin, Sourced
from stoker.plan.planner import make_plan
from stoker.plan.types import Overrides
from stoker.probe.description import load_description
from stoker.progress import Silent
from stoker.resolve.facts import architecture_facts
from stoker.resolve.model import Model
from stoker.resolve.resolve import resolve
from stoker.resolve.weights import computed_weights

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "deploy" / "kubernetes"
CONFIGS = ROOT / "tests" / "unit" / "configs"
NAME = "stoker"
DRAIN = 30.0
OVERLAYS = {
    "cpu": ("Qwen/Qwen2.5-0.5B-Instruct", "qwen2.5-0.5b", "cpu:8c-16g"),
    "nvidia": ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b", "1xL40S"),
    "nvidia-multi-gpu": ("Qwen/Qwen2.5-72B-Instruct", "qwen2.5-72b", "4xL40S"),
}
_A_POD = Sourced(1, Origin.DEFAULT, "a pod is one replica")
FILES = {
    "ServiceAccount": "service-account",
    "PersistentVolumeClaim": "cache",
    "Deployment": "server",
    "Service": "service",
    "PodDisruptionBudget": "disruption-budget",
    "NetworkPolicy": "network-policy",
}


def main() -> int:
    stale = [path for path, text in texts().items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        return int(bool(stale))
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts()[path])
    return 0


def texts() -> dict[Path, str]:
    """Every generated file."""
    return {FOLDER / name: text for name, text in (*base(), *overlays())}


def base() -> Iterator[tuple[str, str]]:
    server = deployment(resolve("demo", Path("/nonexistent"), Silent()), "cpu:4c-8g")
    server = replace(server, arguments=("demo",))
    for document in kubernetes_documents(server):
        yield f"base/{FILES[document['kind']]}.yaml", heading("the demo model, on 4 cores") + render([document])


def overlays() -> Iterator[tuple[str, str]]:
    for folder, (reference, config, machine) in OVERLAYS.items():
        server = deployment(hub_model(reference, config), machine)
        text = heading(f"{reference} on {machine}") + render([server_patch(server), cache_patch(server)])
        yield f"overlays/{folder}/server.yaml", text


def heading(what: str) -> str:
    hint = "For yours: stoker manifest kubernetes MODEL --machine DESCRIPTION"
    return f"# Written by tools/write_manifests.py for {what}.\n# {hint}\n"


def hub_model(reference: str, config_name: str) -> Model:
    """Of the configuration that its repository has; the weights' sizes are computed."""
    config = json.loads((CONFIGS / f"{config_name}.json").read_text())
    architecture = architecture_facts(config)
    return Model(reference, reference, "", architecture, computed_weights(config, architecture, None), config)


def deployment(model: Model, machine: str) -> Deployment:
    """On any node's architecture."""
    described = load_description(machine)
    described = replace(described, cpu=replace(described.cpu, architecture=""))
    kinds = [kind for kind in plan_kinds() if kind.name not in kinds_on_request()]
    plan = make_plan(described, model, kinds, Overrides(replicas=_A_POD))
    part = kind_named(plan.chosen.engine).deploy
    return replace(make_deployment(plan, part, size(plan, part, DRAIN), port=8000), name=NAME)


def server_patch(server: Deployment) -> Document:
    """What differs from the base, to be merged into it."""
    whole = next(one for one in kubernetes_documents(server) if one["kind"] == "Deployment")
    spec = whole["spec"]
    pod = spec["template"]["spec"]
    container = {
        **_because_of_the_plan(),
        **_only(pod["containers"][0], "name"),
        **noted(push_hint(server.image)),
        **_only(pod["containers"][0], "image", "args", "resources", "startupProbe"),
    }
    merged = {**_only(pod, "tolerations", "affinity"), "containers": [container], "volumes": [pod["volumes"][1]]}
    return {
        **_only(whole, "apiVersion", "kind"),
        "metadata": {"name": NAME},
        "spec": {"progressDeadlineSeconds": spec["progressDeadlineSeconds"], "template": {"spec": merged}},
    }


def cache_patch(server: Deployment) -> Document:
    whole = next(one for one in kubernetes_documents(server) if one["kind"] == "PersistentVolumeClaim")
    spec = {**because(f"{server.sizing.cache.why}."), **_only(whole["spec"], "resources")}
    return {**_only(whole, "apiVersion", "kind"), "metadata": {"name": NAME}, "spec": spec}


def _because_of_the_plan() -> Document:
    return because("args are the plan, spelled out; `stoker plan` explains each value.")


def _only(document: Document, *keys: str) -> Document:
    return {key: document[key] for key in keys if key in document}


if __name__ == "__main__":
    sys.exit(main())
