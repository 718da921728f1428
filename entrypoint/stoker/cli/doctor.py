"""`stoker doctor`: checks this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from stoker.cli.arguments import command_parser, parse
from stoker.kinds.tensorrt_llm.plan.catalogue import load_nvidia
from stoker.probe.doctor import Wanted, render_checks, run_checks


def run(arguments: Sequence[str]) -> int:
    """Exit code 69 where a check failed, 0 with no more than warnings."""
    parser = command_parser("doctor", "Check this machine: what Stoker needs, what it found, and what to do.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options, settings = parse(parser, arguments)
    image = load_nvidia().kinds["tensorrt_llm"].image
    checks = run_checks(settings.cache, settings.port, settings.host, Wanted(image.driver, image.cuda))
    text = json.dumps([asdict(check) for check in checks], indent=2) if options.json else render_checks(checks)
    sys.stdout.write(text.rstrip("\n") + "\n")
    return 69 if any(check.status == "failed" for check in checks) else 0
