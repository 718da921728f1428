"""What TensorRT-LLM's tools print, read as progress: milestones passed, and the figures that they tell.

The lines are those of 1.2's convert_checkpoint.py, quantize_by_modelopt.py, builder.py and TensorRT's own log. A line
that is not known passes unread, so that a tool that says less than expected only shows less progress.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Milestone:
    """`doing`: what the tool does from this line on. `each_rank`: the line comes once for every rank."""

    pattern: str
    doing: str
    each_rank: bool = False


MILESTONES: Mapping[str, tuple[Milestone, ...]] = {
    "convert": (
        Milestone(r"^Total time of reading and converting: ", "writing the checkpoint", each_rank=True),
        Milestone(r"^Total time of saving checkpoint: ", "converting the checkpoint", each_rank=True),
        Milestone(r"^Total time of converting checkpoints: ", "converted"),
    ),
    "quantize": (
        Milestone(r"Initializing model from ", "loading the model to calibrate it"),
        Milestone(r"Loading calibration dataset", "reading the calibration text"),
        Milestone(r"Starting quantization\.\.\.", "calibrating"),
        Milestone(r"Quantization done\. Total time used: ", "writing the checkpoint"),
        Milestone(r"Quantized model exported to ", "quantised"),
    ),
    "build": (
        Milestone(r"\[TRT-LLM\] \[I\] Build TensorRT engine ", "compiling", each_rank=True),
        Milestone(r"\[TRT\] \[I\] Engine generation completed in ", "serialising", each_rank=True),
        Milestone(r"\[TRT-LLM\] \[I\] Serializing engine to ", "writing the engine", each_rank=True),
        Milestone(r"\[TRT-LLM\] \[I\] Engine serialized\. ", "compiling", each_rank=True),
        Milestone(r"\[TRT-LLM\] \[I\] Total time of building all engines: ", "built"),
    ),
}
_BEGINNING: Mapping[str, str] = {
    "convert": "converting the checkpoint",
    "quantize": "starting the quantisation",
    "build": "reading the checkpoint",
}
_GENERATED = re.compile(r"Engine generation completed in ([\d.]+) seconds")
_PEAK = re.compile(r"Peak memory usage during Engine building and serialization: CPU: (\d+) MiB")


class Reader:
    """`done` of `total` milestones are behind; `doing` is what the tool does now."""

    def __init__(self, tool: str, ranks: int) -> None:
        self._milestones = [(re.compile(each.pattern), each) for each in MILESTONES[tool]]
        self._left = {each: ranks if each.each_rank else 1 for _, each in self._milestones}
        self._compiled: list[float] = []
        self._peak = 0
        self.total = sum(self._left.values())
        self.doing = _BEGINNING[tool]

    @property
    def done(self) -> int:
        return self.total - sum(self._left.values())

    @property
    def figures(self) -> dict[str, object]:
        """Seconds of compiling for each rank, and the compiler's own account of its peak, where they were told."""
        told = {"compile_seconds": self._compiled, "compiler_peak_bytes": self._peak}
        return {name: value for name, value in told.items() if value}

    def read(self, line: str) -> bool:
        """Whether a milestone was passed."""
        if match := _GENERATED.search(line):
            self._compiled.append(float(match[1]))
        if match := _PEAK.search(line):
            self._peak = max(self._peak, int(match[1]) << 20)
        for pattern, milestone in self._milestones:
            if pattern.search(line) and self._left[milestone]:
                self._left[milestone] -= 1
                self.doing = milestone.doing
                return True
        return False
