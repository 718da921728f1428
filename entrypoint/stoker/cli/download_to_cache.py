"""`stoker download-to-cache`: NVIDIA NIM's command, which fills the cache and serves nothing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stoker.chain import plans_by_profile, resolve_model
from stoker.cli.arguments import command_parser, parse
from stoker.cli.build import built_engine
from stoker.cli.nim_models import with_model, with_profile
from stoker.cli.progress import listener
from stoker.cli.warnings import show_warnings
from stoker.errors import UsageError
from stoker.logs import resolved_format, set_up_logging
from stoker.plan.types import Plan
from stoker.progress import Silent
from stoker.resolve.model_manifest import write_model_manifest
from stoker.settings.layers import Settings

_DESCRIPTION = (
    "Fill the cache: with the model's files where --model-uri names it, else with the engine of the best profile, or "
    "of those that are named."
)


def run(arguments: Sequence[str]) -> int:
    parser = command_parser("download-to-cache", _DESCRIPTION, like="build", without=("profile",))
    names = ("-p", "--profiles", "--profile")
    parser.add_argument(*names, nargs="+", metavar="NAME", dest="profiles", help="whose engines to build or fetch")
    parser.add_argument("--all", action="store_true", help="the engines of all profiles that this machine can serve")
    parser.add_argument("--lora", action="store_true", help="not supported", dest="download_lora")
    parser.add_argument("--model-uri", metavar="URI", help="download this model's files, as hf://org/name, and no more")
    parser.add_argument("--manifest-file", metavar="FILE", type=Path, help="write which model was downloaded")
    options, settings = parse(parser, arguments)
    _check(options)
    if options.model_uri or options.manifest_file:
        _download(with_model(settings, options.model_uri, "--model-uri"), options.manifest_file)
    else:
        _build(with_model(settings, settings.model, "MODEL"), options)
    return 0


def _check(options: argparse.Namespace) -> None:
    if options.download_lora:
        raise UsageError(
            "--lora is not supported", why="an adapter is fetched when it is served", remedy="leave it out"
        )
    of_engines = [flag for flag, given in (("--all", options.all), ("--profiles", options.profiles)) if given]
    if options.model_uri and of_engines:
        raise UsageError(
            f"{of_engines[0]} and --model-uri contradict each other",
            why="--model-uri downloads a model and builds no engine",
            remedy=f"name the model as an argument: download-to-cache MODEL {of_engines[0]}",
        )


def _download(settings: Settings, manifest: Path | None) -> None:
    """Any model that some kind knows, installed here or not: the job that fills a cache may have no GPU."""
    log_format = resolved_format(settings.log_format)
    set_up_logging(log_format, settings.log_level)
    show_warnings(settings)
    model = resolve_model(settings, listener(log_format), buildable=False)
    if manifest:
        write_model_manifest(manifest, model)
    sys.stdout.write(f"{model.directory}\n")


def _build(settings: Settings, options: argparse.Namespace) -> None:
    wanted: list[Settings] = [with_profile(settings, name) for name in options.profiles or ()]
    if options.all:
        *_, plans = plans_by_profile(settings, Silent())
        wanted = [with_profile(settings, name) for name, plan in plans.items() if isinstance(plan, Plan)]
    for each in wanted or [settings]:
        sys.stdout.write(f"{built_engine(each).directory}\n")
