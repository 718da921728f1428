"""Command lines, made from the table of settings."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from stoker.errors import UsageError
from stoker.settings.foreign import remedy_for
from stoker.settings.groups import COMMON, GROUPS, group_of
from stoker.settings.layers import Settings, load_settings
from stoker.settings.setting import Setting
from stoker.settings.spec import SETTINGS

_CHOICES_IN_PLACE = 4


class Parser(argparse.ArgumentParser):
    """Reports through UsageError, so that every error reaches the user the same way. `--help` leaves out what few
    people look for, `--help-all` does not."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, add_help=False, **options)
        self._rare: list[argparse.Action] = []
        self._by_title: dict[str, argparse._ArgumentGroup] = {}
        self.add_argument("-h", "--help", action=_Help, nargs=0, help="show the options that most people use")
        self.add_argument("--help-all", action=_Help, nargs=0, help="show every option")

    def titled(self, title: str) -> argparse._ArgumentGroup:
        """The group of options under a title."""
        if title not in self._by_title:
            self._by_title[title] = self.add_argument_group(title)
        return self._by_title[title]

    def hide(self, action: argparse.Action) -> None:
        """Shown by --help-all alone."""
        self._rare.append(action)

    def format_usage(self) -> str:
        """Without the options, which the help lists."""
        names = " ".join(_placed(action) for action in self._actions if not action.option_strings)
        return f"usage: {self.prog} {names} [options]\n".replace("  ", " ")

    def format_help(self) -> str:
        self.usage = self.format_usage().removeprefix("usage: ").strip().replace("%", "%%")
        return super().format_help()

    def short_help(self) -> str:
        shown = [(action, action.help) for action in self._rare]
        for action in self._rare:
            action.help = argparse.SUPPRESS
        try:
            text = self.format_help()
        finally:
            for action, text_of in shown:
                action.help = text_of
        rest = f"\n{len(shown)} more options: {self.prog} --help-all\n" if shown else ""
        return text + rest

    def error(self, message: str) -> NoReturn:
        see = f"see `{self.prog} --help`"
        unknown = message.partition("unrecognized arguments: ")[2]
        own = [flag for action in self._actions for flag in action.option_strings]
        raise UsageError(message, remedy=remedy_for(unknown.split(), see, own))


class _Help(argparse.Action):
    """Prints the help and ends with 0."""

    def __call__(self, parser: argparse.ArgumentParser, _: object, __: object, option: str | None = None) -> None:
        assert isinstance(parser, Parser)
        sys.stdout.write(parser.format_help() if option == "--help-all" else parser.short_help())
        parser.exit()


def _placed(action: argparse.Action) -> str:
    """A positional argument as the usage line has it. While arguments are parsed in any order, argparse keeps what it
    takes elsewhere."""
    name, count = str(action.metavar or action.dest), getattr(action, "save_nargs", action.nargs)
    return {"?": f"[{name}]", "*": f"[{name}...]", "+": f"{name}..."}.get(str(count), name)


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
    parser = Parser(
        prog=f"stoker {command}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if first is not None:
        parser.add_argument(first[0], choices=first[1], help=", ".join(first[1]), metavar=first[0].upper())
    for title in GROUPS:
        parser.titled(title)
    for setting in SETTINGS:
        if (like or command) in setting.applies_to and setting.name not in without:
            added = _add(parser, parser.titled(group_of(setting.name)), setting)
            if setting.name not in COMMON:
                parser.hide(added)
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


def _add(parser: Parser, group: argparse._ArgumentGroup, setting: Setting) -> argparse.Action:
    text = _help(setting).replace("%", "%%")
    if setting.positional:
        both: dict[str, Any] = {"metavar": setting.metavar, "help": text, "default": argparse.SUPPRESS}
        parser.add_argument(f"--{setting.name}", dest=_destination(setting), **{**both, "help": argparse.SUPPRESS})
        return group.add_argument(_destination(setting), nargs="?", **both)
    if setting.type == "switch":
        options: dict[str, Any] = {"action": "store_const", "const": "true", "default": None}
    elif setting.type == "named":
        options = {"action": "append", "metavar": setting.metavar}
    else:
        options = {"metavar": setting.metavar or _choices(setting)}
    return group.add_argument(setting.flag, dest=_destination(setting), help=text, **options)


def _choices(setting: Setting) -> str:
    """A few are listed in place; of many, the text names them."""
    return "|".join(setting.choices) if len(setting.choices) <= _CHOICES_IN_PLACE else "NAME"


def _help(setting: Setting) -> str:
    default = setting.shown_default or (
        ""
        if setting.default in (None, False)
        else f"`{setting.default:g}`"
        if isinstance(setting.default, float)
        else f"`{setting.default}`"
    )
    listed = f": {', '.join(setting.choices)}" if len(setting.choices) > _CHOICES_IN_PLACE else ""
    return f"{setting.help}{listed}{f' (default: {default})' if default else ''}".replace("`", "")


def _destination(setting: Setting) -> str:
    return setting.name.replace("-", "_")
