"""`stoker generate MODEL PROMPT`: answers on the terminal, with no server."""

from __future__ import annotations

import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.chain import make_plan_for, obtain_planned
from stoker.cli.arguments import Parser, command_parser, parse
from stoker.cli.progress import listener
from stoker.cli.signals import cancel_like_ctrl_c, unwind
from stoker.cli.warnings import show_warnings
from stoker.errors import UsageError
from stoker.kinds import kind_named
from stoker.logs import resolved_format, set_up_logging
from stoker.resolve.model import Model
from stoker.settings.layers import Settings

if TYPE_CHECKING:
    from stoker.direct.runner import Prompt, Runner


def run(arguments: Sequence[str]) -> int:
    options, settings = parse(_parser(), arguments)
    texts = _texts(options)
    set_up_logging(resolved_format(settings.log_format), settings.log_level)
    show_warnings(settings)
    with _runner(settings) as runner:
        chat = runner.has_chat_template and not options.raw
        prompts = [_as_message(text) if chat else text for text in texts]
        _print(runner, prompts, options)
    return 0


def _parser() -> Parser:
    parser = command_parser(
        "generate", "Answer prompts on the terminal, without a server: plans, builds or finds the engine first."
    )
    parser.add_argument("text", nargs="?", metavar="PROMPT", help="a prompt; without any, standard input is one")
    parser.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="a prompt; repeat it for a batch")
    parser.add_argument(
        "--prompt-file", type=Path, metavar="FILE", help="one prompt from a file; `-` for standard input"
    )
    parser.add_argument(
        "--max-tokens", type=int, default=256, metavar="N", help="most tokens of each answer (default: 256)"
    )
    parser.add_argument("--temperature", type=float, default=0.0, metavar="T", help="0 is greedy (default: 0)")
    parser.add_argument("--seed", type=int, metavar="N", help="for temperatures above 0 (default: random)")
    parser.add_argument("--raw", action="store_true", help="continue the text itself: no chat template")
    return parser


def _texts(options: Namespace) -> list[str]:
    """The prompts, in order; standard input where no other is given and it is not a terminal."""
    if options.max_tokens < 1:
        raise UsageError("--max-tokens must be at least 1", why=f"it is {options.max_tokens}")
    texts: list[str] = [*([] if options.text is None else [options.text]), *options.prompt]
    if options.prompt_file is not None:
        texts.append(_read(options.prompt_file))
    elif not texts and not sys.stdin.isatty():
        texts.append(_read(Path("-")))
    if not texts or not all(text.strip() for text in texts):
        raise UsageError(
            "there is no prompt", remedy="give one after the model, or --prompt-file FILE, or standard input"
        )
    if not all(_is_unicode(text) for text in texts):
        raise UsageError("the prompt is not text", why="it is not valid UTF-8", remedy="give it in UTF-8")
    return texts


def _is_unicode(text: str) -> bool:
    """Whether bytes that were no UTF-8 are not hidden in it, as Python hides those of a command line."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _read(path: Path) -> str:
    """Also from standard input it is UTF-8, whatever the locale says."""
    try:
        return (sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the prompt {path} cannot be read", why=str(error)) from error


def _runner(settings: Settings) -> Runner:
    from stoker.direct.runner import Runner

    progress = listener(resolved_format(settings.log_format))
    cancel = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    cancel_like_ctrl_c(cancel)
    planned = make_plan_for(settings.but("replicas", 1, "stoker generate"), progress)
    _check_gives_text(planned.model)
    plan, engine = obtain_planned(planned, settings, progress, cancel)
    signal.signal(signal.SIGTERM, unwind)
    signal.signal(signal.SIGINT, before)
    progress.phase("loading")
    part = kind_named(plan.chosen.engine).launch
    runner = Runner(part, engine, plan.chosen, plan.memory.kv, plan.device_uuids)
    progress.phase("ready")
    return runner


def _check_gives_text(model: Model) -> None:
    if model.pooling is not None:
        why = "it is made for vectors or scores"
        raise UsageError(f"{model.served_name} gives no text", why=why, remedy=f"stoker serve {model.reference}")


def _as_message(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _print(runner: Runner, prompts: Sequence[Prompt], options: Namespace) -> None:
    """One prompt streams; of several, each answer is printed when it is whole, in order."""
    sampling = {"temperature": options.temperature, "seed": options.seed}
    if len(prompts) == 1:
        for piece in runner.stream(prompts, options.max_tokens, **sampling):
            sys.stdout.write(piece.text)
            sys.stdout.flush()
        sys.stdout.write("\n")
        return
    for number, completion in enumerate(runner.generate(prompts, options.max_tokens, **sampling), 1):
        sys.stdout.write(f"[{number}] {completion.text}\n")
