"""How Stoker is installed: no package index has it, and a package of that name there would be someone else's."""

from __future__ import annotations


def with_extra(extra: str) -> str:
    """What to run for the packages of an extra."""
    return f"pip install '.[{extra}]' in a checkout of Stoker"
