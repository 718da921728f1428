"""`stoker tune MODEL`: what the plan leaves open, measured on this machine, and the quickest kept for later plans."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from stoker.chain import planner_for
from stoker.cli.arguments import command_parser, parse
from stoker.cli.progress import listener
from stoker.cli.signals import cancel_like_ctrl_c
from stoker.cli.warnings import show_warnings
from stoker.errors import UsageError
from stoker.logs import resolved_format, set_up_logging
from stoker.origin import Origin, Sourced
from stoker.plan.overrides import check_names
from stoker.plan.types import Overrides
from stoker.progress import Silent
from stoker.settings.layers import Settings
from stoker.store.tuned import TunedStore

if TYPE_CHECKING:
    from stoker.plan.tuning import Tuned
    from stoker.tune.run import Figure

_WITHOUT = ("no-tune", "lora", "lora-source", "nodes", "replicas")  # of the settings of `stoker plan`


@dataclass(frozen=True)
class Asked:
    """`budget`: seconds. `precisions`: of the weights, measured beside the plan's."""

    budget: float
    precisions: tuple[str, ...]


def run(arguments: Sequence[str]) -> int:
    """StoppedError where Ctrl-C or SIGTERM ended it: then nothing is kept, and what was kept before stays."""
    about = "Measure on this machine what the plan of MODEL leaves open, and keep the quickest."
    parser = command_parser("tune", about, like="plan", without=_WITHOUT)
    parser.add_argument("--budget", metavar="SECONDS", default="180", help="time for measuring (default: 180)")
    parser.add_argument(
        "--try-precision",
        metavar="PRECISION",
        action="append",
        default=[],
        help="a precision of the weights to measure too, such as fp8 or int4; it changes the answers (repeatable)",
    )
    parser.add_argument("--forget", action="store_true", help="remove what was measured, and measure nothing")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON document")
    options, settings = parse(parser, arguments)
    log_format = resolved_format(settings.log_format)
    set_up_logging(log_format, settings.log_level)
    show_warnings(settings)
    if options.forget:
        return _forget(settings)
    asked = Asked(_seconds(options.budget), _precisions(options.try_precision, settings))
    return _tune(settings, asked, log_format, options.json)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"--budget {text}", why="not a number of seconds above 0")
    return seconds


def _precisions(names: Sequence[str], settings: Settings) -> tuple[str, ...]:
    fixed = next((name for name in ("precision", "profile") if names and settings.is_given(name)), "")
    if fixed:
        raise UsageError(f"--try-precision and --{fixed}", why="the precision is fixed", remedy="leave one of them out")
    for name in names:
        check_names(Overrides(precision=Sourced(name, Origin.FLAG, "--try-precision")))
    return tuple(names)


def _forget(settings: Settings) -> int:
    planner = planner_for(settings, Silent(), weights=False)
    gone = TunedStore(settings.cache).forget(planner.tuning_key)
    known = f"{planner.model.served_name} with the goal {planner.goal}"
    sys.stdout.write(f"forgot what was measured for {known}\n" if gone else f"nothing was measured for {known}\n")
    return 0


def _tune(settings: Settings, asked: Asked, log_format: str, as_json: bool) -> int:
    from stoker.tune.run import named, tune

    cancel = threading.Event()
    cancel_like_ctrl_c(cancel)
    progress = listener(log_format)
    planner = planner_for(settings, progress)
    tuned, figures = tune(planner, settings, progress, asked.budget, cancel, asked.precisions)
    if as_json:
        document = {**asdict(tuned), "measured": [asdict(each) for each in figures]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return 0
    for each in figures:
        rate = f"{each.rate:8.1f} tokens/s" if each.rate else f"{'-':>8}         "
        sys.stdout.write(f"{rate}  {named(each.values)}{f' ({each.why})' if each.why else ''}\n")
    sys.stdout.write(f"{_result(tuned, figures, named(tuned.values))}\n")
    return 0


def _result(tuned: Tuned, figures: Sequence[Figure], values: str) -> str:
    more = "; a larger --budget tries the rest" if any(not each.tried for each in figures) else ""
    if tuned.best <= tuned.planned:
        return f"the plan is as quick as any other that was measured{more}"
    gain = f"{tuned.best:.1f} tokens/s at {tuned.streams} streams, {tuned.planned:.1f} as planned"
    return f"quickest: {tuned.engine}, {values}: {gain}{more}"
