"""`stoker plan MODEL`: what would be built and served on this machine or another, and why."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace

from stoker.chain import make_plan_for
from stoker.cli.arguments import command_parser, parse
from stoker.cli.warnings import show_warnings
from stoker.deploy.deployment import image_for
from stoker.errors import StokerError
from stoker.kinds import available_kinds, kind_named
from stoker.logs import resolved_format, set_up_logging
from stoker.plan.render import plan_document, render_plan
from stoker.plan.types import Plan, Reason
from stoker.probe.description import load_description
from stoker.progress import Silent


def run(arguments: Sequence[str]) -> int:
    parser = command_parser("plan", "Show what would be built and served, and why. Downloads no weights.")
    parser.add_argument("--machine", metavar="DESCRIPTION", help="plan for another machine: 8xH100-80GB, a YAML file")
    parser.add_argument("--all", action="store_true", help="also where each value comes from, and rejected profiles")
    parser.add_argument("--json", action="store_true", help="print one JSON document (docs/plan.schema.json)")
    options, settings = parse(parser, arguments)
    set_up_logging(resolved_format(settings.log_format), settings.log_level)
    show_warnings(settings)
    machine = load_description(options.machine) if options.machine else None
    plan = make_plan_for(settings, Silent(), weights=False, machine=machine, buildable=False)
    if machine is None and plan.chosen.engine not in available_kinds():
        note = f"this installation cannot build {plan.chosen.engine} engines: stoker serve takes another and says which"
        plan = replace(plan, reasons=(*plan.reasons, Reason("not_buildable", note)))
    if options.json:
        text = json.dumps(plan_document(plan), indent=2)
    else:
        text = render_plan(plan, everything=options.all, image=_image(plan, described=machine is not None))
    sys.stdout.write(text.rstrip("\n") + "\n")
    return 0


def _image(plan: Plan, *, described: bool) -> str:
    """The image that has the engine, for a plan that this installation cannot follow, or for GPUs of a machine that is
    described, whatever is installed here; else empty."""
    kind = kind_named(plan.chosen.engine)
    if kind.build.available and not (described and plan.chosen.devices):
        return ""
    with contextlib.suppress(StokerError):
        return image_for(plan, kind.deploy.images)
    return ""
