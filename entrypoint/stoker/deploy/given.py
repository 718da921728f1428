"""What the user set, as arguments for a server elsewhere: in a container here, or where a manifest is applied."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from stoker.settings.layers import Settings
from stoker.settings.spec import SETTINGS

_OF_THE_PLACE = ("model", "host", "port", "cache", "config")
_SECRET = ("api-key",)


def given_flags(settings: Settings, command: str, but: Container[str] = ()) -> tuple[str, ...]:
    """For the settings that apply to `command`; secrets are no arguments, since process lists show those."""
    names = [one.name for one in SETTINGS if command in one.applies_to and one.name not in (*_OF_THE_PLACE, *_SECRET)]
    values = [(name, settings[name].value) for name in names if name not in but and settings.is_given(name)]
    return tuple(
        f"--{name}" if value is True else f"--{name}={_text(value)}" for name, value in values if value is not False
    )


def _text(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
