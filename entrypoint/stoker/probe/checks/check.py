"""The outcome of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Check:
    """`found` is what there is, `remedy` what to do about it, empty where all is well."""

    name: str
    status: Status
    found: str
    remedy: str = ""


def sized(count: int) -> str:
    """Bytes for people: `64 MiB`, `23.5 GiB`."""
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)):
        if count >= factor:
            return f"{count / factor:.1f}".removesuffix(".0") + f" {unit}"
    return f"{count} bytes"
