"""`stoker create-model-store`: NVIDIA NIM's command, which writes a directory that is served without a network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from stoker.chain import resolve_model
from stoker.cli.arguments import command_parser, parse
from stoker.cli.build import built_engine
from stoker.cli.nim_models import with_model, with_profile
from stoker.cli.progress import listener
from stoker.cli.warnings import show_warnings
from stoker.errors import UsageError
from stoker.logs import resolved_format, set_up_logging
from stoker.resolve.model_copy import copy_model
from stoker.settings.layers import Settings
from stoker.store.policy import policy_of
from stoker.store.transport import export_engine

_DESCRIPTION = (
    "Write a directory that is served without a network: the model's files, or, with --profile, the engine of that "
    "profile and all it needs."
)


def run(arguments: Sequence[str]) -> int:
    parser = command_parser("create-model-store", _DESCRIPTION, like="build", without=("profile",))
    parser.add_argument("-p", "--profile", metavar="NAME", dest="store_profile", help="the profile to build")
    parser.add_argument("-m", "--model-store", metavar="DIR", type=Path, help="where to write it")
    parser.add_argument("--model-repo", metavar="URI", help="the model, as hf://org/name or a directory")
    options, settings = parse(parser, arguments)
    if options.model_store is None:
        raise UsageError("create-model-store needs --model-store", remedy="name the directory to write")
    named = with_model(settings, options.model_repo or settings.model, "--model-repo")
    if options.store_profile:
        engine = built_engine(with_profile(named, options.store_profile))
        export_engine(engine, options.model_store, policy_of(settings))
    else:
        _copy(named, options.model_store)
    sys.stdout.write(f"{options.model_store}\n")
    return 0


def _copy(settings: Settings, target: Path) -> None:
    log_format = resolved_format(settings.log_format)
    set_up_logging(log_format, settings.log_level)
    show_warnings(settings)
    copy_model(resolve_model(settings, listener(log_format), buildable=False), target, settings.cache)
