"""Which models some kind here can serve, asked before weights are fetched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.errors import UnsupportedModelError
from stoker.kinds import available_kinds
from stoker.kinds.openvino.build.families import POOLED, check_config
from stoker.resolve.model import Model


def check_known(config: Mapping[str, Any]) -> None:
    """Raises UnsupportedModelError, with the list of what is supported, for what no builder here could make an engine
    of. PyTorch, where it is installed, says so itself: what transformers knows, only its import would tell."""
    try:
        check_config(config)
    except UnsupportedModelError as error:
        if "torch" in available_kinds():
            return
        remedy = f"{error.remedy}; or install PyTorch, which knows more: pip install 'stoker[torch]'"
        raise UnsupportedModelError(error.what, why=error.why, remedy=remedy.removeprefix("; or ")) from None


def check_pooled(model: Model) -> None:
    """Raises UnsupportedModelError for a model that gives no text and that no builder here makes an engine of."""
    name = model.architecture.name
    if model.pooling is not None and name not in POOLED:
        why = f"an embedding model of the architecture {name} is not supported"
        raise UnsupportedModelError("this embedding model cannot be served", why=why, remedy="use another model")
