"""Where a value came from. Order of precedence: flag, environment, file, profile, default."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Origin(IntEnum):
    """Smaller wins."""

    FLAG = 0
    ENVIRONMENT = 1
    FILE = 2
    PROFILE = 3
    DEFAULT = 4


@dataclass(frozen=True)
class Sourced(Generic[T]):
    """A value and its origin; `detail` is what to show: `--precision`, `STOKER_PRECISION`, `stoker.yaml: precision`."""

    value: T
    origin: Origin
    detail: str = ""
