"""Counters and histograms of several processes, added up: prometheus_client's own files, one for each process.

A process that is killed takes nothing of what it counted with it, and the next in its place counts on in its file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import prometheus_client.values
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # where the library looks for it


def count_in(folder: Path, process: int) -> None:
    """From here on what this process counts is in the folder. Call it before any metric is made."""
    os.environ[_FOLDER] = str(folder)
    value = prometheus_client.values.MultiProcessValue(lambda: process)  # type: ignore[no-untyped-call]
    prometheus_client.values.ValueClass = value


class Summed(Collector):
    """A registry's own families, with what the processes of the folder counted of them added."""

    def __init__(self, own: CollectorRegistry, folder: Path) -> None:
        self._own = own
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        others = {family.name: family for family in collected(self._folder)}
        for family in self._own.collect():
            if (other := others.get(family.name)) is not None:
                family.samples = _summed(family, other)
            yield family


def collected(folder: Path) -> Iterable[Metric]:
    return MultiProcessCollector(None, str(folder)).collect()  # type: ignore[no-untyped-call, no-any-return]


def _summed(own: Metric, other: Metric) -> list[prometheus_client.core.Sample]:
    """In the order of a family's samples, which histograms depend on."""
    values = {(sample.name, *sorted(sample.labels.items())): sample for sample in own.samples}
    for sample in other.samples:
        key = (sample.name, *sorted(sample.labels.items()))
        before = values[key].value if key in values else 0.0
        values[key] = sample._replace(value=sample.value + before)
    return list(values.values())


def total(folder: Path, name: str) -> float:
    """Of a counter, over all labels."""
    return sum(
        sample.value for family in collected(folder) for sample in family.samples if sample.name == f"{name}_total"
    )
