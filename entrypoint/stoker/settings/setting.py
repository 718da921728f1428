"""What one setting is: its type, its bounds, and its names on the command line and in the environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["text", "path", "whole", "tokens", "seconds", "switch", "bytes", "places", "count", "named"]
Value = str | int | float | bool | Path | tuple[str, ...] | None


@dataclass(frozen=True)
class Setting:
    """One setting. `type` says how its text is read; `tokens` takes k and m, the powers of 1024, as in `32k`, and
    `count` takes `auto`, which leaves it to Stoker.

    `default` None leaves the choice to Stoker or means none; `shown_default` is its text for people. `minimum` and
    `maximum` are inclusive. `applies_to` names the commands that have the flag.
    """

    name: str
    type: Kind
    help: str
    default: Value = None
    shown_default: str = ""
    choices: tuple[str, ...] = ()
    metavar: str = ""
    applies_to: tuple[str, ...] = ("serve", "plan", "build", "export", "bench", "generate", "manifest", "up")
    minimum: float | None = None
    maximum: float | None = None
    positional: bool = False
    in_file: bool = True

    @property
    def flag(self) -> str:
        return self.metavar if self.positional else f"--{self.name}"

    @property
    def variable(self) -> str:
        return f"STOKER_{self.name.replace('-', '_').upper()}"
