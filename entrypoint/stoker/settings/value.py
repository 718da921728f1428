"""From the text of a value to the value, or a UsageError that says where the text came from."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

from stoker.errors import UsageError
from stoker.nearest import nearest
from stoker.remote_address import check_address
from stoker.settings.setting import Kind, Setting, Value

_SWITCHES = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,126}")
_EXPECTED: dict[Kind, str] = {
    "whole": "a whole number",
    "tokens": "a whole number of tokens, like 4096 or 32k",
    "seconds": "a number of seconds",
    "switch": "true or false",
    "bytes": "a number of bytes, like 500g",
    "count": "a whole number or auto",
}


def parse_value(setting: Setting, text: str, where: str) -> Value:
    """`where` is what to call the source in an error: `--port`, `STOKER_PORT` or `stoker.yaml, line 3: port`."""
    text = text.strip()
    try:
        value = _PARSERS[setting.type](text)
    except (ValueError, RuntimeError):
        expected = _EXPECTED.get(setting.type, "a path")
        raise UsageError(f"{where}={text}", why=f"not {expected}", remedy=_allowed(setting)) from None
    _check_choice(setting, text, where)
    _check_range(setting, value, where)
    return value


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9][0-9_]*", text):
        raise ValueError(text)
    return int(text)


def _count(text: str) -> int | None:
    return None if text.lower() == "auto" else _whole(text)


def _tokens(text: str) -> int:
    """Powers of 1024, because context lengths are: 32k is 32768."""
    factor = {"k": 1 << 10, "m": 1 << 20}.get(text[-1:].lower())
    return _whole(text[:-1]) * factor if factor else _whole(text)


def _bytes(text: str) -> int:
    """Powers of 1000, as disks are sold: 500g is 500,000,000,000."""
    factor = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}.get(text[-1:].lower())
    return _whole(text[:-1]) * factor if factor else _whole(text)


def _places(text: str) -> tuple[str, ...]:
    """Each of them checked; UsageError says what is wrong with it."""
    places = tuple(place for place in re.split(r"[,\s]+", text) if place)
    for place in places:
        check_address(place)
    return places


def named(text: str) -> tuple[str, ...]:
    """`NAME=VALUE`, several between commas or on lines of their own; UsageError for two of one name."""
    entries = tuple(entry.strip() for entry in re.split(r"[,\n]+", text) if entry.strip())
    names = [entry.partition("=")[0].strip() for entry in entries]
    for entry, name in zip(entries, names, strict=True):
        if not is_name(name) or not entry.partition("=")[2].strip():
            remedy = f"write NAME=./directory or NAME=org/name; names are {NAMES}"
            raise UsageError(f"{entry!r} is not NAME=ADAPTER", remedy=remedy)
        if names.count(name) > 1:
            raise UsageError(f"two adapters are named {name}", remedy="give each a name of its own")
    return entries


NAMES = "1 to 127 letters, digits and . _ - / :, and begin with a letter or digit"


def is_name(text: str) -> bool:
    """Whether an adapter may be called so."""
    return _NAME.fullmatch(text) is not None


def _seconds(text: str) -> float:
    value = float(text.removesuffix("s"))
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _switch(text: str) -> bool:
    if text.lower() not in _SWITCHES:
        raise ValueError(text)
    return _SWITCHES[text.lower()]


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # `~`, or another user's, where there is no home
        raise ValueError(str(error)) from error


_PARSERS: dict[Kind, Callable[[str], Value]] = {
    "text": str,
    "path": _path,
    "whole": _whole,
    "tokens": _tokens,
    "seconds": _seconds,
    "switch": _switch,
    "bytes": _bytes,
    "places": _places,
    "count": _count,
    "named": named,
}


def _check_choice(setting: Setting, text: str, where: str) -> None:
    if not setting.choices or text in setting.choices:
        return
    guess = nearest(text.lower(), setting.choices)
    why = f"not one of {', '.join(setting.choices)}"
    raise UsageError(f"{where}={text}", why=why, remedy=f"did you mean {guess}?" if guess else "")


def _check_range(setting: Setting, value: Value, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    if setting.minimum is not None and value < setting.minimum:
        raise UsageError(f"{where}={value}", why="too small", remedy=_allowed(setting))
    if setting.maximum is not None and value > setting.maximum:
        raise UsageError(f"{where}={value}", why="too large", remedy=_allowed(setting))


def _allowed(setting: Setting) -> str:
    if setting.minimum is None:
        return ""
    least = f"{setting.minimum:g}"
    return f"at least {least}" if setting.maximum is None else f"from {least} to {setting.maximum:g}"
