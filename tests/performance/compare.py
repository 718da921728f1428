"""Ratios of this run beside those of the last release, which are kept in a file of the repository."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

NOISE = 0.2


def compared(now: Mapping[str, float], kept: Path) -> tuple[str, bool]:
    """What to print, and whether `now` holds against the file. Without a file there is nothing to hold against."""
    if not kept.exists():
        return f"nothing to compare with: {kept.name} does not exist, make bench-quick KEEP=1 writes it", True
    found = worse(now, json.loads(kept.read_text())["ratios"])
    return "\n".join(found) or "no ratio is worse than the last release's", not found


def keep(now: Mapping[str, float], kept: Path, version: str, machine: str) -> None:
    """As the release's, to be committed. Ratios only; version and machine say where they come from."""
    content = {"version": version, "machine": machine, "ratios": dict(now)}
    kept.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def worse(now: Mapping[str, float], released: Mapping[str, float]) -> list[str]:
    """Of ratios of which more is better, a line for each that fell by more than noise or is no longer measured."""
    lines = [f"{what}: no longer measured" for what in released.keys() - now.keys()]
    for what in now.keys() & released.keys():
        if now[what] < released[what] * (1 - NOISE):
            lines.append(f"{what}: {now[what]:.2f}, {released[what]:.2f} in the last release")
    return sorted(lines)
