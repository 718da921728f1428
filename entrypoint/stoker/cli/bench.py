"""`stoker bench MODEL`: the model served by each engine kind in turn on this machine, measured side by side."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.cli.arguments import Parser, command_parser, parse
from stoker.cli.progress import listener
from stoker.cli.signals import unwind
from stoker.cli.warnings import show_warnings
from stoker.errors import EngineError, UsageError
from stoker.logs import resolved_format, set_up_logging
from stoker.origin import Origin
from stoker.settings.layers import Settings

if TYPE_CHECKING:
    import argparse

    from stoker.bench.types import Workload


def run(arguments: Sequence[str]) -> int:
    """Exit code 70 where a server that was planned failed, 69 where none could be planned."""
    options, settings = parse(bench_parser(), arguments)
    log_format = resolved_format(settings.log_format)
    set_up_logging(log_format, settings.log_level)
    show_warnings(settings)

    from stoker.bench.cases import parse_kinds
    from stoker.bench.chart import check_chart, draw
    from stoker.bench.report import make_report
    from stoker.bench.table import render

    workload, asked = workload_from(options), parse_kinds(kinds_from(options.kinds, settings), options.precisions)
    chart = Path(options.chart) if options.chart else None
    if chart:
        check_chart(chart)
    signal.signal(signal.SIGTERM, unwind)
    report = make_report(asked, settings, workload, listener(log_format), reuse=options.reuse)
    sys.stdout.write(json.dumps(asdict(report), indent=2) + "\n" if options.json else render(report))
    if chart and report.measured:
        draw(report, chart)
    return EngineError.exit_code if any(each.failed for each in report.not_run) else 0


def kinds_from(kinds: str | None, settings: Settings) -> str | None:
    """What `--kinds` lists, else the one kind that `--engine`, its variable or the file names. Raises UsageError for
    both flags."""
    engine = settings["engine"]
    if kinds is not None and engine.origin is Origin.FLAG:
        raise UsageError("--kinds and --engine contradict each other", remedy="leave --engine out")
    return kinds if kinds is not None else engine.value


def bench_parser() -> Parser:
    parser = command_parser("bench", "Serve MODEL with each engine kind in turn on this machine, and measure it.")
    text = "engine kinds, each perhaps with a precision: KIND,KIND:int4 (default: all that generate text)"
    parser.add_argument("--kinds", metavar="KIND,...", help=text)
    parser.add_argument("--precisions", metavar="P,...", help="precisions of each kind (default: as planned)")
    parser.add_argument("--streams", metavar="N,...", default="1,16", help="clients at once (default: 1,16)")
    parser.add_argument("--prompt-tokens", metavar="N", default="128", help="tokens in (default: 128)")
    parser.add_argument("--output-tokens", metavar="N", default="64", help="tokens out (default: 64)")
    text = "prompt tokens that all prompts share, a load for each number (default: 0)"
    parser.add_argument("--shared-prefix", metavar="N,...", default="0", help=text)
    parser.add_argument("--rounds", metavar="N", default="3", help="rounds of each load (default: 3)")
    parser.add_argument("--requests", metavar="N", default="1", help="requests of a client in a round (default: 1)")
    text = "serve the engines in the cache and keep what is built; measures no cold start where an engine is found"
    parser.add_argument("--reuse", action="store_true", help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON document (docs/bench.schema.json)")
    parser.add_argument("--chart", metavar="FILE", help="draw the loads to an .svg or .png file")
    return parser


def workload_from(options: argparse.Namespace) -> Workload:
    """Raises UsageError that names the flag."""
    from stoker.bench.types import Workload

    workload = Workload(
        prompt_tokens=_number("--prompt-tokens", options.prompt_tokens),
        output_tokens=_number("--output-tokens", options.output_tokens),
        streams=_numbers("--streams", options.streams),
        shared_prefixes=_numbers("--shared-prefix", options.shared_prefix, least=0),
        rounds=_number("--rounds", options.rounds),
        requests=_number("--requests", options.requests),
    )
    if max(workload.shared_prefixes) >= workload.prompt_tokens:
        why = "a prompt that is shared whole leaves nothing to compute"
        raise UsageError("--shared-prefix must be less than --prompt-tokens", why=why)
    return workload


def _numbers(flag: str, text: str, least: int = 1) -> tuple[int, ...]:
    """In the given order, each once."""
    return tuple(dict.fromkeys(_number(flag, part, least) for part in text.split(",")))


def _number(flag: str, text: str, least: int = 1) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise UsageError(f"{flag} {text}", why=f"not a whole number of at least {least}")
    return value
