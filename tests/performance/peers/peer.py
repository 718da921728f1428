"""Who is measured, and what a peer's process can do once it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.performance.processes import ROOT

Load = tuple[int, int, int]
"""Streams, tokens in, tokens out."""
BITS = {"int8": 8, "int4": 5, "int4_full": 4, "bf16": 16, "Q8_0": 8, "Q4_0": 5, "Q4_0 pure": 4}
"""To compare by: 5 for 4 bits beside an output matrix of 8."""
OURS = ("int8", "int4", "int4_full", "bf16")
STORED = ("Q8_0", "Q4_0", "Q4_0 pure")


@dataclass(frozen=True)
class Peer:
    name: str
    precision: str
    command: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of its environment, besides those that all have; one that is set already stays."""
    version: str = ""
    """Where it is known before the start."""

    @property
    def ours(self) -> bool:
        return self.name == "Stoker"

    def environment(self) -> dict[str, str]:
        return {
            **self.variables,
            **os.environ,
            "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(ROOT / "entrypoint") if self.ours else "",
        }


class Measured(Protocol):
    """A peer that runs. `load`: the seconds until it did; `why`: the reason where it does not."""

    peer: Peer
    version: str
    load: float
    why: str

    def seconds(self, load: Load, seed: int) -> float:
        """Of a load, or until its first token where that is all that it asks for. Infinite where it failed."""

    def resident(self) -> float:
        """The most memory that it has held, GiB."""

    def close(self) -> None:
        """Ends it."""
