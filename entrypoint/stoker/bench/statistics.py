"""From what was seen of each request to the figures of a load."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from stoker.bench.types import Load, Measured, Ratio, Spread


@dataclass(frozen=True)
class Sample:
    """One request, seconds from its sending. `last` is its last event with text, `longest_gap` between two events."""

    first: float
    last: float
    longest_gap: float
    tokens: int

    @property
    def between_tokens(self) -> float | None:
        """None for an answer of one token."""
        return (self.last - self.first) / (self.tokens - 1) if self.tokens > 1 else None


@dataclass(frozen=True)
class Round:
    """`seconds` from the first request sent to the last byte; `client_seconds` of processor time."""

    samples: tuple[Sample, ...]
    seconds: float
    client_seconds: float

    @property
    def tokens_per_second(self) -> float:
        return sum(sample.tokens for sample in self.samples) / self.seconds


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed (nearest rank); 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def spread(values: Iterable[float]) -> Spread:
    listed = list(values)
    return Spread(percentile(listed, 0.5), percentile(listed, 0.99))


def summarise(streams: int, shared_prefix: int, rounds: Sequence[Round]) -> Load:
    samples = [sample for each in rounds for sample in each.samples]
    rates = tuple(each.tokens_per_second for each in rounds)
    between = [sample.between_tokens for sample in samples]
    return Load(
        streams=streams,
        shared_prefix=shared_prefix,
        tokens_per_second=statistics.median(rates),
        round_tokens_per_second=rates,
        first_token=spread(sample.first for sample in samples),
        between_tokens=spread(value for value in between if value is not None),
        longest_gap=spread(sample.longest_gap for sample in samples),
        client_share=sum(each.client_seconds for each in rounds) / sum(each.seconds for each in rounds),
    )


def baseline_of(measured: Sequence[Measured], kinds: Set[str]) -> Measured | None:
    """The first case of one of the kinds that the others are held against, else the first without guesses where others
    guess."""
    without = [each for each in measured if each.speculative == "off"]
    found = next((each for each in without if each.kind in kinds), None)
    return found if found or len(without) == len(measured) else next(iter(without), None)


def ratios(measured: Sequence[Measured], baseline: Measured | None) -> tuple[Ratio, ...]:
    """Of every other case, load by load, to the baseline's same load; none without a baseline."""
    if baseline is None:
        return ()
    base = {(load.streams, load.shared_prefix): load for load in baseline.loads}
    pairs = [(each, load, base.get((load.streams, load.shared_prefix))) for each in measured for load in each.loads]
    return tuple(_ratio(each, load, other) for each, load, other in pairs if other and each is not baseline)


def _ratio(measured: Measured, load: Load, base: Load) -> Ratio:
    return Ratio(
        measured.kind,
        measured.precision,
        load.streams,
        load.shared_prefix,
        _over(load.tokens_per_second, base.tokens_per_second),
        _over(load.first_token.p50, base.first_token.p50),
        _over(load.between_tokens.p50, base.between_tokens.p50),
        measured.speculative,
    )


def _over(ours: float, theirs: float) -> float:
    """0 where there is nothing to divide by (answers of one token have no time between tokens)."""
    return ours / theirs if theirs else 0.0
