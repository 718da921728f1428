"""The formats of `stoker manifest`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stoker.deploy.commented_yaml import render
from stoker.deploy.compose import compose_document
from stoker.deploy.docker import docker_script
from stoker.deploy.kubernetes import kubernetes_documents
from stoker.deploy.quadlet import quadlet_unit
from stoker.deploy.types import Deployment
from stoker.errors import UsageError
from stoker.version import __version__


def manifest(form: str, server: Deployment) -> str:
    """The text of the manifest. UsageError where the format cannot say what is asked."""
    if server.nodes > 1 and form != "kubernetes":
        raise UsageError(
            f"the plan takes {server.nodes} machines, and {form} is for one host", remedy="take kubernetes"
        )
    return FORMATS[form](server)


def _kubernetes(server: Deployment) -> str:
    if server.directory:
        raise UsageError(
            f"the model is the directory {server.directory}",
            why="a cluster's nodes do not have it",
            remedy="name a repository of the model hub, or take compose, quadlet or docker",
        )
    return _heading(server) + render(kubernetes_documents(server))


def _compose(server: Deployment) -> str:
    return _heading(server) + render([compose_document(server)])


def _heading(server: Deployment) -> str:
    plan = server.plan
    chosen = plan.chosen
    return (
        f"# {plan.model.served_name} on {plan.machine.name}: {chosen.engine}, {chosen.precision}, "
        f"{chosen.max_batch_size} sequences of up to {chosen.max_seq_len} tokens.\n"
        f"# Written by `stoker manifest` {__version__}. Every number is from the plan.\n"
    )


FORMATS: Mapping[str, Callable[[Deployment], str]] = {
    "kubernetes": _kubernetes,
    "compose": _compose,
    "quadlet": quadlet_unit,
    "docker": docker_script,
}
