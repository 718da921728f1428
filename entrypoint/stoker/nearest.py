"""The nearest right name for a wrong one, for error messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, names: Iterable[str]) -> str:
    """The name that was probably meant, or the empty string."""
    return next(iter(get_close_matches(name, list(names), n=1, cutoff=0.6)), "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean X?` where something is near, `choose from A, B` otherwise; empty when nothing is known."""
    names = sorted(known)
    if near := nearest(name, names):
        return f"did you mean {near}?"
    return f"choose from {', '.join(names)}" if names else ""
