"""docs/reference/commands.md, from the commands' own parsers. Written by `make docs`."""

from __future__ import annotations

import argparse
import importlib
from typing import NoReturn
from unittest.mock import patch

from stoker.cli import COMMANDS, module_of
from stoker.cli.arguments import Parser
from stoker.errors import StokerError
from stoker.settings.setting import Setting
from stoker.settings.spec import SETTINGS

_HEAD = """\
# Commands

Written by `tools/commands_page.py` from the parsers. `stoker MODEL` is `stoker serve MODEL`. Beside the options
below, a command takes the [settings](../settings.md) that apply to it, as flags.
"""

WITHOUT_PARSER = ("health", "nim-serve-ray")  # one reads two flags without argparse, to be quick; the other is NIM's
_HEALTH = """\
## stoker health

Whether the server on this machine is ready, by its exit code; `--host ADDRESS` and `--port PORT` say which server.
"""

_OF_ALL = ("help", "help_all")


class _Parsed(BaseException):
    def __init__(self, parser: Parser) -> None:
        self.parser = parser


def document() -> str:
    return "\n".join([_HEAD, *(section(command) for command in COMMANDS if command not in WITHOUT_PARSER), _HEALTH])


def section(command: str) -> str:
    parser = parser_of(command)
    settings = {setting.flag for setting in SETTINGS}
    own = [action for action in parser._actions if not settings & set(action.option_strings) and not _is_model(action)]
    rows = [row(action) for action in own if action.help is not argparse.SUPPRESS and action.dest not in _OF_ALL]
    table = ["| option | |", "|---|---|", *rows, ""] if rows else []
    text = parser.description or ""
    description = f"```\n{text.strip()}\n```" if "\n\n" in text else " ".join(text.split())
    return "\n".join([f"## stoker {command}", "", description, "", *table])


def _is_model(action: argparse.Action) -> bool:
    return not action.option_strings and action.dest in {_destination(each) for each in SETTINGS if each.positional}


def _destination(setting: Setting) -> str:
    return setting.name.replace("-", "_")


def row(action: argparse.Action) -> str:
    names = ", ".join(action.option_strings)
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    text = " ".join((action.help or "").replace("%%", "%").split()).replace("|", "\\|")
    return f"| `{' '.join(filter(None, [names, value]))}` | {text} |"


def parser_of(command: str) -> Parser:
    """That which the command makes before it reads its arguments."""

    def stop(parser: Parser, *_: object) -> NoReturn:
        raise _Parsed(parser)

    module = importlib.import_module(module_of(command))
    with patch.object(Parser, "parse_args", stop), patch.object(Parser, "parse_intermixed_args", stop):
        try:
            module.run([])
        except _Parsed as parsed:
            return parsed.parser
        except StokerError as error:
            raise AssertionError(f"{command} failed before it parsed: {error}") from error
    raise AssertionError(f"{command} parses nothing")
