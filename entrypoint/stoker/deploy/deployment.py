"""From a plan to a Deployment: its name, image and arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from stoker.deploy.images import own_image
from stoker.deploy.kind import CPU, DeployPart
from stoker.deploy.types import Deployment, Sizing
from stoker.errors import UsageError
from stoker.plan.render import pinned
from stoker.plan.types import Plan
from stoker.probe.machine import AMD, Gpu
from stoker.resolve.reference import HubRepository, LocalDirectory, parse_reference

PREFIX = "stoker"
MODELS = "/models"
_LONGEST_NAME = 52  # Kubernetes adds to it: pods of a Deployment have 63 characters in all
_COMMIT = re.compile(r"[0-9a-f]{40}")


def make_deployment(
    plan: Plan,
    part: DeployPart,
    sizing: Sizing,
    given: Sequence[str] = (),
    *,
    image: str = "",
    replicas: int = 1,
    port: int,
) -> Deployment:
    """Everything that the planner decided is spelled out, so that all replicas are alike and stay so. `part` is that of
    the plan's engine kind, `given` the flags that the user set beyond that. `replicas`: pods; those of the plan run
    within each."""
    _refuse_amd(plan)
    reference, directory = container_reference(plan)
    arguments = [reference, *(f"--{name}={value}" for name, value in pinned(plan)), *given]
    return Deployment(
        name=resource_name(plan.model.served_name),
        plan=plan,
        sizing=sizing,
        image=image or image_for(plan, part.images),
        arguments=tuple(arguments),
        replicas=replicas,
        port=port,
        directory=directory,
    )


def _refuse_amd(plan: Plan) -> None:
    if any(gpu.vendor == AMD for gpu in _gpus(plan)):
        raise UsageError(
            "there are no manifests for AMD GPUs yet",
            why="they need devices that these manifests do not pass on",
            remedy=f"install Stoker and the {plan.chosen.engine} engine on the machine and run stoker serve",
        )


def image_for(plan: Plan, images: Mapping[str, str]) -> str:
    """Of `images`, the plan's engine kind's own, that for the plan's devices. UsageError where there is none."""
    device = next((gpu.vendor for gpu in _gpus(plan)), CPU)
    if device not in images:
        where = "CPUs" if device == CPU else f"{device} GPUs"
        raise UsageError(f"no image has the {plan.chosen.engine} engine for {where}", remedy="name yours with --image")
    image = images[device]
    return image if ":" in image else own_image(image)


def _gpus(plan: Plan) -> list[Gpu]:
    return [gpu for gpu in plan.machine.gpus if gpu.index in plan.chosen.devices]


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
    return f"{PREFIX}-{words or 'model'}"[:_LONGEST_NAME].rstrip("-")
