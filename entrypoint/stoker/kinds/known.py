"""Which models some kind here can serve, asked before weights are fetched."""

from __future__ import annotations

from collections.abc import Mapping

from stoker.errors import StokerError
from stoker.kinds import available_kinds, plan_kinds
from stoker.plan.refused import unknown_error
from stoker.resolve.facts import architecture_facts
from stoker.resolve.model import Architecture, Model, Weights


def check_known(config: Mapping[str, object]) -> None:
    """Raises UnsupportedModelError, with the list of what is supported, for what no kind that is installed knows."""
    check_model(Model("", "the model", "", _architecture(config), Weights(0, {}), config))


def check_model(model: Model) -> None:
    """The same, of all that is known of a model."""
    if error := unknown_error(model, plan_kinds(), available_kinds()):
        raise error


def _architecture(config: Mapping[str, object]) -> Architecture:
    """What the config says; of one that lacks numbers, which is refused later, the names alone."""
    try:
        return architecture_facts(config)
    except StokerError:
        names = config.get("architectures")
        name = str(names[0]) if isinstance(names, list) and names else "none"
        return Architecture(name, str(config.get("model_type")), *(0,) * 8)
