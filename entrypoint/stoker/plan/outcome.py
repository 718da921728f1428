"""What the planner settled on, before it is put into words."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.plan.fit import Fit, Range, Setting
from stoker.plan.types import Overrides, Rejection


@dataclass(frozen=True)
class Outcome:
    """`passed_over` would have come first with more memory; `longest` is the context that the model allows."""

    setting: Setting
    span: Range
    found: Fit
    passed_over: tuple[Rejection, ...]
    overrides: Overrides
    longest: int
