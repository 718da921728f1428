"""From a plan to a Deployment: its name, image and arguments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from stoker.deploy.types import Deployment, Sizing
from stoker.errors import UsageError
from stoker.plan.render import pinned
from stoker.plan.types import Plan
from stoker.probe.machine import AMD
from stoker.resolve.reference import HubRepository, LocalDirectory, parse_reference

REPOSITORY = "stoker"
MODELS = "/models"
_LONGEST_NAME = 52  # Kubernetes adds to it: pods of a Deployment have 63 characters in all
_COMMIT = re.compile(r"[0-9a-f]{40}")


def make_deployment(
    plan: Plan, sizing: Sizing, given: Sequence[str] = (), *, image: str = "", replicas: int = 1, port: int
) -> Deployment:
    """Everything that the planner decided is spelled out, so that all replicas are alike and stay so. `given` are the
    flags that the user set beyond that."""
    _refuse_amd(plan)
    reference, directory = container_reference(plan)
    arguments = [reference, *(f"--{name}={value}" for name, value in pinned(plan)), *given]
    return Deployment(
        name=resource_name(plan.model.served_name),
        plan=plan,
        sizing=sizing,
        image=image or image_for(plan),
        arguments=tuple(arguments),
        replicas=replicas,
        port=port,
        directory=directory,
    )


def _refuse_amd(plan: Plan) -> None:
    if any(gpu.vendor == AMD for gpu in plan.machine.gpus if gpu.index in plan.chosen.devices):
        raise UsageError(
            "there are no manifests for AMD GPUs yet",
            why="there is no image with PyTorch for ROCm, and the devices that it would need are others",
            remedy="install stoker[torch] on the machine and run stoker serve",
        )


def image_for(plan: Plan) -> str:
    """The image that has the engine of the plan. UsageError where none has."""
    if plan.chosen.devices:
        return f"{REPOSITORY}:{'torch' if plan.chosen.engine == 'torch' else 'nvidia'}"
    if plan.chosen.engine != "openvino":
        raise UsageError(f"no image has the {plan.chosen.engine} engine for CPUs", remedy="name yours with --image")
    return f"{REPOSITORY}:cpu"


def container_reference(plan: Plan) -> tuple[str, str]:
    """What the model is called in the container, at the revision that was planned; and its directory on this host."""
    parsed = parse_reference(plan.model.reference)
    if isinstance(parsed, LocalDirectory):
        path = parsed.path.absolute()
        return f"{MODELS}/{path.name}", str(path)
    if isinstance(parsed, HubRepository) and _COMMIT.fullmatch(plan.model.revision):
        return f"{parsed.id}@{plan.model.revision}", ""
    return plan.model.reference, ""


def resource_name(served_name: str) -> str:
    """A DNS label (RFC 1123) that people recognise: `org/Some-Model.v1` gives `stoker-some-model-v1`."""
    words = re.sub(r"[^a-z0-9]+", "-", Path(served_name).name.lower()).strip("-")
    return f"{REPOSITORY}-{words or 'model'}"[:_LONGEST_NAME].rstrip("-")
