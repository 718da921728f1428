"""The nearest right name for a wrong one, for error messages."""

from __future__ import annotations

from collections.abc import Iterable

from stoker.settings.value import nearest


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean X?` where something is near, `choose from A, B` otherwise; empty when nothing is known."""
    names = sorted(known)
    if near := nearest(name, names):
        return f"did you mean {near}?"
    return f"choose from {', '.join(names)}" if names else ""
