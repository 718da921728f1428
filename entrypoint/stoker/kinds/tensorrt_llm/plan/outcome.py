"""What the GPU planner tried and settled on, before it is put into words."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.kinds.tensorrt_llm.plan.fit import GpuFit, GpuSetting
from stoker.kinds.tensorrt_llm.plan.selection import Question
from stoker.plan.fit import Range
from stoker.plan.types import Rejection
from stoker.probe.machine import Machine


@dataclass(frozen=True)
class Attempt:
    """`found` is None where not even the smallest batch and context fit."""

    setting: GpuSetting
    span: Range
    found: GpuFit | None


@dataclass(frozen=True)
class GpuOutcome:
    """`before` would have been taken with more memory; `longest` is the context that the model allows; `next_profile`
    is for the case that what was taken fails to build."""

    machine: Machine
    question: Question
    taken: Attempt
    before: tuple[Rejection, ...]
    rejected: tuple[Rejection, ...]
    longest: int
    next_profile: str = ""
