"""Measured speeds of OpenVINO's kernels by what they compute in: profiles/openvino/kernels.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from stoker.plan.catalogue import catalogue_directory, read, schema
from stoker.plan.validate import fields_of, list_of, mapping_of, number, one_of, text
from stoker.settings.spec import ACTIVATION_PRECISIONS, PRECISIONS

FILE = "openvino/kernels.yaml"
LONG_PROMPT = 1500  # tokens


@dataclass(frozen=True)
class Speed:
    """`streams`: tokens/s by the number of concurrent sequences. `prompts`: seconds until the first token of a single
    sequence, by the tokens of its prompt."""

    streams: Mapping[int, float]
    prompts: Mapping[int, float]


@dataclass(frozen=True)
class Measured:
    """One machine. It stands for processors with `isa`, of which the first in the file that a processor has counts.
    `speeds`: by what the kernels compute in. `machine`, `model` and `source` say what was measured, how and when."""

    isa: str
    precisions: tuple[str, ...]
    machine: str
    model: str
    source: str
    speeds: Mapping[str, Speed]

    def streams_of(self, computed: Iterable[str]) -> tuple[int, ...]:
        """Numbers of sequences that all of these have a figure for, in rising order."""
        known = [set(self.speeds[name].streams) for name in computed]
        return tuple(sorted(set.intersection(*known)))


def _count(value: object) -> str:
    """Keys of the files are texts."""
    return "" if isinstance(value, str) and value.isdecimal() else f"{value!r} is not a whole number"


_FIGURES = mapping_of(_count, number)
_SPEED = fields_of({"streams": _FIGURES, "prompts": _FIGURES})
_ROW = fields_of(
    {
        "isa": text,
        "precisions": list_of(one_of(PRECISIONS), 1),
        "machine": text,
        "model": text,
        "source": text,
        "speeds": mapping_of(one_of(ACTIVATION_PRECISIONS), _SPEED),
    }
)
_RULES = {"schema": schema, "measurements": list_of(_ROW, 1)}


@cache
def measurements() -> tuple[Measured, ...]:
    """In the order of the file. Raises UsageError for a file that cannot be read."""
    return tuple(map(_measured, read(catalogue_directory() / FILE, _RULES)["measurements"]))


def _measured(fields: Mapping[str, Any]) -> Measured:
    speeds = {
        name: Speed(*(_counted(speed[each]) for each in ("streams", "prompts")))
        for name, speed in fields["speeds"].items()
    }
    return Measured(**{**fields, "precisions": tuple(fields["precisions"]), "speeds": speeds})


def _counted(figures: Mapping[str, float]) -> dict[int, float]:
    return {int(count): figure for count, figure in figures.items()}


def measured_for(isa: Iterable[str], precision: str, rows: Iterable[Measured]) -> Measured | None:
    """The first row for a processor with these instruction sets, and these weights."""
    there = set(isa)
    return next((row for row in rows if row.isa in there and precision in row.precisions), None)
