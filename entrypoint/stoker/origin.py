"""Where a value came from, in the order of precedence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Origin(IntEnum):
    """Smaller wins. NIM: a variable of NVIDIA NIM's that means one of ours. TUNED: measured by `stoker tune`."""

    FLAG = 0
    ENVIRONMENT = 1
    NIM = 2
    FILE = 3
    PROFILE = 4
    TUNED = 5
    DEFAULT = 6


@dataclass(frozen=True)
class Sourced(Generic[T]):
    """A value and its origin; `detail` is what to show: `--precision`, `STOKER_PRECISION`, `stoker.yaml: precision`."""

    value: T
    origin: Origin
    detail: str = ""
