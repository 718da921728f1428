"""`stoker manifest FORMAT MODEL`: the deployment of this model, on this machine or another, with its reasons."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Sequence
from functools import partial

from stoker.chain import make_plan_for
from stoker.cli.arguments import Parser, command_parser, parse
from stoker.cli.warnings import show_warnings
from stoker.deploy.deployment import make_deployment
from stoker.deploy.formats import FORMATS, manifest
from stoker.deploy.given import given_flags
from stoker.deploy.images import push_hint
from stoker.deploy.sizing import size
from stoker.deploy.types import Deployment
from stoker.errors import StokerError
from stoker.kinds import kind_named, kinds_on_request
from stoker.logs import resolved_format, set_up_logging
from stoker.plan.api_workers import api_workers
from stoker.plan.overrides import overrides_of
from stoker.plan.render import pinned
from stoker.plan.types import Plan
from stoker.probe.description import load_description
from stoker.probe.machine import Machine
from stoker.progress import Silent
from stoker.settings.layers import Settings

_LOG = logging.getLogger("stoker")
_DESCRIPTION = "Write the deployment of MODEL, sized from its plan, with the reasons as comments."


def run(arguments: Sequence[str]) -> int:
    options, settings = parse(_parser(), arguments)
    set_up_logging(resolved_format(settings.log_format), settings.log_level)
    show_warnings(settings)
    pods = 1
    if options.format == "kubernetes":  # there a pod is a replica
        pods = int(settings["replicas"].value or 1)
        settings = settings.but("replicas", 1, "a pod is one replica")
    server = plan_deployment(settings, options.machine, pods=pods)
    if hint := push_hint(server.image):
        _LOG.warning("%s", hint)
    sys.stdout.write(manifest(options.format, server))
    return 0


def _parser() -> Parser:
    parser = command_parser("manifest", _DESCRIPTION, first=("format", tuple(FORMATS)))
    parser.add_argument("--machine", metavar="DESCRIPTION", help="plan for another machine: 8xH100-80GB, a YAML file")
    return parser


def plan_deployment(settings: Settings, machine: str | None, *, pods: int = 1) -> Deployment:
    """Plans without fetching weights, for this machine or a described one."""
    image = str(settings["image"].value or "")
    plan = _plan(settings, load_description(machine) if machine else None, any_kind=bool(image))
    part = kind_named(plan.chosen.engine).deploy
    sizing = size(plan, part, settings.drain_timeout, api_workers(plan, settings["api-workers"].value))
    given = given_flags(settings, "manifest", dict.fromkeys(("goal", "replicas", *(name for name, _ in pinned(plan)))))
    return make_deployment(plan, part, sizing, given, image=image, replicas=pods, port=settings.port)


def _plan(settings: Settings, machine: Machine | None, *, any_kind: bool) -> Plan:
    """By the kinds whose images are deployed by default. By all where the user names a kind or an image, and where the
    default ones would serve the model from no GPU, or not at all."""
    make = partial(make_plan_for, settings, Silent(), weights=False, machine=machine, buildable=False)
    if any_kind or overrides_of(settings).engine:
        return make()
    with contextlib.suppress(StokerError):
        plan = make(without_kinds=kinds_on_request())
        if plan.chosen.devices or not plan.machine.gpus:
            return plan
    return make()
