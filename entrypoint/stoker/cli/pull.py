"""`stoker pull MODEL`: the model's files into the cache."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from stoker.chain import resolve_model
from stoker.cli.arguments import command_parser, parse
from stoker.cli.progress import listener
from stoker.cli.signals import end_like_ctrl_c
from stoker.cli.warnings import show_warnings
from stoker.logs import resolved_format, set_up_logging
from stoker.settings.spec import SETTINGS

_DESCRIPTION = (
    "Fetch a model's files into the cache. `stoker build` also makes its engine, `stoker engines pull` gets one."
)
_TAKEN = ("model", "cache", "config", "offline", "log-format", "log-level")


def run(arguments: Sequence[str]) -> int:
    others = [setting.name for setting in SETTINGS if setting.name not in _TAKEN]
    parser = command_parser("pull", _DESCRIPTION, like="build", without=others)
    _, settings = parse(parser, arguments)
    log_format = resolved_format(settings.log_format)
    set_up_logging(log_format, settings.log_level)
    show_warnings(settings)
    end_like_ctrl_c()
    progress = listener(log_format)
    model = resolve_model(settings, progress, buildable=False)
    progress.phase("ready")
    sys.stdout.write(f"{model.directory}\n")
    return 0
