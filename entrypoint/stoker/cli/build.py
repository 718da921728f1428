"""`stoker build MODEL`: the engine into the cache, and no further."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from stoker.chain import make_plan_for, obtain_planned
from stoker.cli.arguments import command_parser, parse
from stoker.cli.progress import listener
from stoker.cli.signals import cancel_like_ctrl_c
from stoker.cli.warnings import show_warnings
from stoker.logs import resolved_format, set_up_logging
from stoker.settings.layers import Settings
from stoker.store.engine import Engine


def run(arguments: Sequence[str]) -> int:
    parser = command_parser("build", "Build the engine that `stoker serve` would, into the cache.")
    _, settings = parse(parser, arguments)
    sys.stdout.write(f"{built_engine(settings).directory}\n")
    return 0


def built_engine(settings: Settings) -> Engine:
    """The engine of the settings' model, with progress on standard error; SIGTERM and Ctrl-C stop it cleanly."""
    log_format = resolved_format(settings.log_format)
    set_up_logging(log_format, settings.log_level)
    show_warnings(settings)
    progress = listener(log_format)
    cancel = threading.Event()
    cancel_like_ctrl_c(cancel)
    plan = make_plan_for(settings, progress)
    for reason in plan.reasons:
        progress.note(reason.text)
    _, engine = obtain_planned(plan, settings, progress, cancel)
    progress.phase("ready")
    return engine
