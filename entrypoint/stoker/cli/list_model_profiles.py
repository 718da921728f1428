"""`stoker list-model-profiles`: NVIDIA NIM's command, with Stoker's profiles."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stoker.chain import plans_by_profile
from stoker.cli.arguments import command_parser, parse
from stoker.cli.nim_models import with_model
from stoker.cli.warnings import show_warnings
from stoker.errors import StokerError
from stoker.logs import resolved_format, set_up_logging
from stoker.plan.types import Plan
from stoker.plan.units import size_text
from stoker.probe.machine import Machine
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
    machine, model, chosen, plans = plans_by_profile(with_model(settings, named, "--model"), Silent())
    selected = chosen.chosen.profile if isinstance(chosen, Plan) else ""
    if options.json:
        found = [_profile(name, plan, selected) for name, plan in plans.items()]
        text = json.dumps({"model": model.served_name, "profiles": found}, indent=2)
    else:
        text = "\n".join(_lines(machine, plans, selected))
    sys.stdout.write(f"{text}\n")
    return 0


def _lines(machine: Machine, plans: Mapping[str, Plan | StokerError], selected: str) -> Iterator[str]:
    yield "SYSTEM INFO"
    yield from _hardware(machine)
    yield "MODEL PROFILES"
    yield "- Compatible with system and runnable:"
    for name, plan in sorted(plans.items(), key=lambda pair: pair[0] != selected):
        if isinstance(plan, Plan):
            told = ", selected" if name == selected else ""
            yield f"  - {name} ({_tags(plan)}) [requires >={size_text(plan.memory.total)}{_each(plan)}{told}]"
    yield "- Incompatible with system:"
    yield from (f"  - {name}: {_why(plan)}" for name, plan in plans.items() if not isinstance(plan, Plan))


def _hardware(machine: Machine) -> Iterator[str]:
    gpus, cpu = machine.gpus, machine.cpu
    yield f"- Free GPUs:{'' if gpus else ' <None>'}"
    for gpu in gpus:
        yield f"  - ({gpu.index}) {gpu.name} [{size_text(gpu.memory_free)} of {size_text(gpu.memory_total)} free]"
    yield f"- CPU: {cpu.name}, {cpu.cores} cores, {size_text(min(cpu.memory_available, cpu.memory_limit))} available"


def _why(error: StokerError) -> str:
    return error.why or error.what


def _tags(plan: Plan) -> str:
    chosen = plan.chosen
    return f"{chosen.engine}-{chosen.precision}-tp{chosen.tensor_parallel}-pp{chosen.pipeline_parallel}"


def _each(plan: Plan) -> str:
    return "/gpu" if plan.chosen.devices else ""


def _profile(name: str, plan: Plan | StokerError, selected: str) -> dict[str, object]:
    if not isinstance(plan, Plan):
        return {"profile": name, "compatible": False, "why": _why(plan)}
    chosen = plan.chosen
    return {
        "profile": name,
        "compatible": True,
        "selected": name == selected,
        "engine": chosen.engine,
        "precision": chosen.precision,
        "tensor_parallel": chosen.tensor_parallel,
        "pipeline_parallel": chosen.pipeline_parallel,
        "memory_bytes": plan.memory.total,
    }
