"""`stoker list-model-profiles`: NVIDIA NIM's command, with Stoker's profiles."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stoker.cli.arguments import command_parser, parse
from stoker.cli.logs import resolved_format, set_up_logging
from stoker.cli.nim_models import Incompatible, Runnable, profiles, with_model
from stoker.cli.warnings import show_warnings
from stoker.plan.types import Plan
from stoker.plan.units import size_text
from stoker.progress import Silent
from stoker.resolve.model_manifest import read_model_manifest

_DESCRIPTION = "List the profiles that this machine can serve MODEL with, and why not the others. Downloads no weights."


def run(arguments: Sequence[str]) -> int:
    parser = command_parser("list-model-profiles", _DESCRIPTION, like="plan")
    parser.add_argument("-m", "--manifest-file", metavar="FILE", type=Path, help="that download-to-cache wrote")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options, settings = parse(parser, arguments)
    set_up_logging(resolved_format(settings.log_format), settings.log_level)
    show_warnings(settings)
    named = read_model_manifest(options.manifest_file) if options.manifest_file else settings.model
    plan, found = profiles(with_model(settings, named, "--model"), Silent())
    text = json.dumps(_document(plan, found), indent=2) if options.json else "\n".join(_lines(plan, found))
    sys.stdout.write(f"{text}\n")
    return 0


def _lines(plan: Plan, found: Sequence[Runnable | Incompatible]) -> Iterator[str]:
    yield "SYSTEM INFO"
    yield from _hardware(plan)
    yield "MODEL PROFILES"
    yield "- Compatible with system and runnable:"
    for each in found:
        if isinstance(each, Runnable):
            selected = ", selected" if each.plan is plan else ""
            needs = size_text(each.plan.memory.total)
            yield f"  - {each.profile} ({_tags(each.plan)}) [requires >={needs}{_each(each.plan)}{selected}]"
    yield "- Incompatible with system:"
    yield from (f"  - {each.profile}: {each.why}" for each in found if isinstance(each, Incompatible))


def _hardware(plan: Plan) -> Iterator[str]:
    gpus, cpu = plan.machine.gpus, plan.machine.cpu
    yield f"- Free GPUs:{'' if gpus else ' <None>'}"
    for gpu in gpus:
        yield f"  - ({gpu.index}) {gpu.name} [{size_text(gpu.memory_free)} of {size_text(gpu.memory_total)} free]"
    yield f"- CPU: {cpu.name}, {cpu.cores} cores, {size_text(min(cpu.memory_available, cpu.memory_limit))} available"


def _tags(plan: Plan) -> str:
    chosen = plan.chosen
    return f"{chosen.engine}-{chosen.precision}-tp{chosen.tensor_parallel}-pp{chosen.pipeline_parallel}"


def _each(plan: Plan) -> str:
    return "/gpu" if plan.chosen.devices else ""


def _document(plan: Plan, found: Sequence[Runnable | Incompatible]) -> dict[str, Any]:
    return {"model": plan.model.served_name, "profiles": [_profile(plan, each) for each in found]}


def _profile(plan: Plan, each: Runnable | Incompatible) -> dict[str, Any]:
    if isinstance(each, Incompatible):
        return {"profile": each.profile, "compatible": False, "why": each.why}
    chosen = each.plan.chosen
    return {
        "profile": each.profile,
        "compatible": True,
        "selected": each.plan is plan,
        "engine": chosen.engine,
        "precision": chosen.precision,
        "tensor_parallel": chosen.tensor_parallel,
        "pipeline_parallel": chosen.pipeline_parallel,
        "memory_bytes": each.plan.memory.total,
    }
