"""What `module:attribute` names. Engine kinds state their heavy parts that way, to have them imported late."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def attribute(path: str) -> Any:
    """Imports the module. ImportError, AttributeError, or ValueError for a text that is not `module:attribute`."""
    module, separator, name = path.partition(":")
    if not (module and separator and name):
        raise ValueError(f"{path!r} is not module:attribute")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
