"""Command lines, made from the table of settings."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from stoker.errors import UsageError
from stoker.settings.foreign import remedy_for
from stoker.settings.layers import Settings, load_settings
from stoker.settings.setting import Setting
from stoker.settings.spec import SETTINGS


class Parser(argparse.ArgumentParser):
    """Reports through UsageError, so that every error reaches the user the same way."""

    def error(self, message: str) -> NoReturn:
        see = f"see `{self.prog} --help`"
        unknown = message.partition("unrecognized arguments: ")[2]
        raise UsageError(message, remedy=remedy_for(unknown.split(), see))


def command_parser(
    command: str,
    description: str,
    first: tuple[str, tuple[str, ...]] | None = None,
    *,
    like: str = "",
    without: Sequence[str] = (),
) -> Parser:
    """A parser with the flag of every setting that applies to the command, or to the one that it is `like`.

    `first` is a name and its choices: what the command line says before the model. `without`: settings left out.
    """
    parser = Parser(prog=f"stoker {command}", description=description, allow_abbrev=False)
    if first is not None:
        parser.add_argument(first[0], choices=first[1], help=", ".join(first[1]), metavar=first[0].upper())
    for setting in SETTINGS:
        if (like or command) in setting.applies_to and setting.name not in without:
            _add(parser, setting)
    return parser


def parse(parser: Parser, arguments: Sequence[str]) -> tuple[argparse.Namespace, Settings]:
    """The command's own options, and the settings after all layers."""
    options = parser.parse_intermixed_args(list(arguments))
    given = vars(options)
    flags = {setting.name: _joined(given.get(_destination(setting))) for setting in SETTINGS}
    config = flags.get("config")
    return options, load_settings(flags, os.environ, Path(config) if config else None)


def given_flags(options: argparse.Namespace, but: Sequence[str] = ()) -> tuple[str, ...]:
    """The flags of settings as they were given, for a child that takes the same."""
    given = vars(options)
    return tuple(
        flag
        for setting in SETTINGS
        if setting.name not in but
        for flag in _spelled(setting, given.get(_destination(setting)))
    )


def _spelled(setting: Setting, given: str | list[str] | None) -> list[str]:
    if given is None:
        return []
    if setting.type == "switch":
        return [setting.flag]
    return [f"{setting.flag}={each}" for each in (given if isinstance(given, list) else [given])]


def _joined(given: str | list[str] | None) -> str | None:
    """A flag that may be given several times, as one text."""
    return "\n".join(given) if isinstance(given, list) else given


def _add(parser: Parser, setting: Setting) -> None:
    text = _help(setting).replace("%", "%%")
    if setting.positional:
        both: dict[str, Any] = {"metavar": setting.metavar, "help": text, "default": argparse.SUPPRESS}
        parser.add_argument(_destination(setting), nargs="?", **both)
        parser.add_argument(f"--{setting.name}", dest=_destination(setting), **{**both, "help": argparse.SUPPRESS})
    elif setting.type == "switch":
        options = {"action": "store_const", "const": "true", "default": None}
        parser.add_argument(setting.flag, dest=_destination(setting), help=text, **options)  # type: ignore[arg-type]
    elif setting.type == "named":
        parser.add_argument(
            setting.flag, dest=_destination(setting), metavar=setting.metavar, help=text, action="append"
        )
    else:
        metavar = setting.metavar or "|".join(setting.choices)
        parser.add_argument(setting.flag, dest=_destination(setting), metavar=metavar, help=text)


def _help(setting: Setting) -> str:
    default = setting.shown_default or (
        ""
        if setting.default in (None, False)
        else f"`{setting.default:g}`"
        if isinstance(setting.default, float)
        else f"`{setting.default}`"
    )
    return f"{setting.help} (default: {default})".replace("`", "") if default else setting.help.replace("`", "")


def _destination(setting: Setting) -> str:
    return setting.name.replace("-", "_")
