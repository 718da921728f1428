"""`stoker doctor`: checks this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial

from stoker.cli.arguments import command_parser, parse
from stoker.kinds import kinds, plan_kinds, registry
from stoker.kinds.kind import EngineKind
from stoker.probe.checks.check import Check
from stoker.probe.doctor import render_checks, run_checks
from stoker.probe.machine import Machine
from stoker.resolve.hub_check import check_hub


def run(arguments: Sequence[str]) -> int:
    """Exit code 69 where a check failed, 0 with no more than warnings."""
    parser = command_parser("doctor", "Check this machine: what Stoker needs, what it found, and what to do.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options, settings = parse(parser, arguments)
    of_kinds: list[Callable[[Machine], Iterable[Check]]] = [partial(checks_of, kind) for kind in kinds().values()]
    checks = run_checks(settings.cache, settings.port, settings.host, [*of_kinds, check_kinds])
    checks = (*checks, *check_hub(offline=settings.offline))
    text = json.dumps([asdict(check) for check in checks], indent=2) if options.json else render_checks(checks)
    sys.stdout.write(text.rstrip("\n") + "\n")
    return 69 if any(check.status == "failed" for check in checks) else 0


def checks_of(kind: EngineKind, machine: Machine) -> Iterator[Check]:
    """Those of the kind, which another package may have written: what they raise is a finding too."""
    try:
        yield from kind.checks(machine)
    except Exception as error:
        yield Check(kind.name, "warning", f"its check failed: {error}", "upgrade the package that the kind is in")


def check_kinds(_: Machine) -> Iterator[Check]:
    """Which engine kinds are installed here, and which packages' kinds are not used."""
    there = [name for name, kind in kinds().items() if kind.build.available]
    if not there:
        remedy = next(iter(plan_kinds())).package.remedy
        yield Check("engine kinds", "failed", "none is installed", remedy)
    else:
        missing = ", ".join(name for name in kinds() if name not in there)
        yield Check("engine kinds", "ok", ", ".join(there) + (f"; not installed: {missing}" if missing else ""))
    for fault in registry().faults:
        yield Check("engine kinds", "warning", fault, "upgrade or remove that package")
