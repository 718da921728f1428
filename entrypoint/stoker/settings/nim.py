"""NVIDIA NIM's variables as a layer of settings, between our own variables and the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stoker.nearest import nearest
from stoker.settings.environment import Given
from stoker.settings.nim_reading import Idle, NotHonouredError, Taken
from stoker.settings.nim_variables import VARIABLES
from stoker.settings.service_links import is_service_link

_PREFIX = "NIM_"


@dataclass
class NimLayer:
    """What the variables say: settings by name. `without_effect`: the others, each with what to use instead."""

    given: dict[str, Given] = field(default_factory=dict)
    without_effect: dict[str, str] = field(default_factory=dict)

    @property
    def warning(self) -> str:
        """One line for all, empty without any."""
        told = "; ".join(f"{name}: {instead}" for name, instead in self.without_effect.items())
        return f"variables of NIM's that have no effect here: {told}" if told else ""


def nim_layer(environ: Mapping[str, str]) -> NimLayer:
    """UsageError for a mode of TLS that is none, or that lacks a file."""
    said = {
        name: text.strip()
        for name, text in environ.items()
        if name.startswith(_PREFIX) and text.strip() and not is_service_link(name, text)
    }
    layer = NimLayer()
    for name in sorted(said, key=_order):
        _take(layer, name, said)
    return layer


def _order(name: str) -> tuple[int, str]:
    """The table's, and those that it does not have last."""
    names = list(VARIABLES)
    return (names.index(name) if name in VARIABLES else len(names), name)


def _take(layer: NimLayer, name: str, said: Mapping[str, str]) -> None:
    known = VARIABLES.get(name)
    if known is None:
        guess = nearest(name, VARIABLES)
        layer.without_effect[name] = "not known here" + (f", did you mean {guess}?" if guess else "")
    elif isinstance(known, Idle):
        if said[name].lower() not in known.same:
            layer.without_effect[name] = known.instead
    else:
        _settle(layer, name, known, said)


def _settle(layer: NimLayer, name: str, known: Taken, said: Mapping[str, str]) -> None:
    try:
        meant = known.read(said[name], said)
    except NotHonouredError as error:
        layer.without_effect[name] = str(error)
        return
    for setting, text in meant.items():
        winner = layer.given.setdefault(setting, Given(name, text))
        if winner.text != text:
            layer.without_effect[name] = f"{winner.variable} says {winner.text}"
