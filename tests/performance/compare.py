"""Ratios of this run beside those of the last release."""

from __future__ import annotations

from collections.abc import Mapping

NOISE = 0.2


def worse(now: Mapping[str, float], released: Mapping[str, float]) -> list[str]:
    """Of ratios of which more is better, a line for each that fell by more than noise or is no longer measured."""
    lines = [f"{what}: no longer measured" for what in released.keys() - now.keys()]
    for what in now.keys() & released.keys():
        if now[what] < released[what] * (1 - NOISE):
            lines.append(f"{what}: {now[what]:.2f}, {released[what]:.2f} in the last release")
    return sorted(lines)
