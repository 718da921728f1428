"""`stoker chat [MODEL|URL]`: a conversation on the terminal."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from stoker.chat.answers import print_answer
from stoker.chat.commands import command_names
from stoker.chat.conversation import Conversation
from stoker.chat.session import Session, to_terminal
from stoker.cli.arguments import Parser, command_parser, given_flags, parse
from stoker.cli.progress import listener
from stoker.cli.signals import end_like_ctrl_c
from stoker.cli.warnings import show_warnings
from stoker.errors import UsageError
from stoker.logs import resolved_format, set_up_logging
from stoker.servers.choice import Chosen, Wanted, server_for
from stoker.servers.endpoint import key_of
from stoker.settings.layers import Settings

_DESCRIPTION = """\
Chat with MODEL on the terminal. Uses a server of this machine that serves it, or the one at a URL; else it starts one,
and stops it afterwards. Text from a pipe is one message: its answer is printed, and nothing else.\
"""


def run(arguments: Sequence[str]) -> int:
    options, settings = parse(_parser(), arguments)
    set_up_logging(resolved_format(settings.log_format), settings.log_level)
    show_warnings(settings)
    end_like_ctrl_c()
    piped = "" if sys.stdin.isatty() else _piped()
    sampling = _sampling(options)
    progress = listener(resolved_format(settings.log_format))
    with server_for(_wanted(options, settings), "demo", progress) as chosen:
        conversation = Conversation(chosen.model, options.system, sampling.sampling)
        if piped:
            return _answer_once(chosen, conversation, piped)
        _converse(chosen, conversation)
    return 0


def _parser() -> Parser:
    parser = command_parser("chat", _DESCRIPTION, like="generate")
    parser.add_argument("--system", metavar="TEXT", default="", help="system prompt")
    parser.add_argument("--temperature", metavar="T", help="0 is greedy (default: the server's)")
    parser.add_argument("--max-tokens", metavar="N", help="longest answer, in tokens (default: what the context holds)")
    parser.add_argument("--seed", metavar="N", help="the same seed gives the same answer (default: random)")
    parser.add_argument("--api-key", metavar="KEY", help="key of the server; better given as STOKER_API_KEY")
    return parser


def _sampling(options: Namespace) -> Conversation:
    """Checked before a server is started."""
    holder = Conversation("")
    for name in ("temperature", "max_tokens", "seed"):
        if (value := getattr(options, name)) is not None:
            holder.set(name, value)
    return holder


def _wanted(options: Namespace, settings: Settings) -> Wanted:
    model, key = settings.model or "", key_of(settings)
    if model.startswith(("http://", "https://")):
        key = key or os.environ.get("OPENAI_API_KEY", "")
    return Wanted(model, given_flags(options, but=("model", "api-key")), key)


def _piped() -> str:
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("standard input is not text", why=str(error), remedy="give it in UTF-8") from error
    if not text.strip():
        raise UsageError("there is no message", why="standard input is empty", remedy="run it on a terminal")
    return text


def _answer_once(chosen: Chosen, conversation: Conversation, text: str) -> int:
    """130 where it was stopped."""
    conversation.say(text)
    answer = print_answer(chosen.endpoint.answer(conversation.request()), to_terminal, styled=False)
    to_terminal("\n")
    return 0 if answer.finish else 130


def _converse(chosen: Chosen, conversation: Conversation) -> None:
    from stoker.chat.editor import line_reader

    how = "started for this chat" if chosen.started else "already running"
    session = Session(chosen.endpoint, conversation, to_terminal, sys.stdout.isatty())
    to_terminal(f"{chosen.model} at {chosen.endpoint.url} ({how}). /help lists the commands, Ctrl-D leaves.\n")
    session.converse(line_reader(command_names()))
    to_terminal("stopping the server\n" if chosen.started else "")
