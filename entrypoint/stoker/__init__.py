"""Stoker: from a model name to a tuned, served OpenAI API in one command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stoker.version import __version__

if TYPE_CHECKING:
    from stoker.direct.runner import Runner

__all__ = ["Runner", "__version__"]


def __getattr__(name: str) -> Any:
    """`stoker.Runner` on first use: importing stoker stays quick."""
    if name == "Runner":
        from stoker.direct.runner import Runner

        return Runner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
