"""What is measured of one request, in seconds of `time.perf_counter`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from stoker.launch.generation import PerfMetrics


@dataclass(frozen=True)
class EngineRun:
    """One generation: when the engine was asked for it, and how it went within."""

    asked: float
    perf_metrics: PerfMetrics


@dataclass
class Measurement:
    """`first_token` and `token_gap` hear of each engine step as it comes; a gap is seconds for one token."""

    first_token: Callable[[float], None]
    token_gap: Callable[[float], None]
    started: float
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reasons: list[str] = field(default_factory=list)
    first_token_seconds: float | None = None
    queue_seconds: float = 0.0
    prepared_seconds: float = 0.0
    engine_runs: list[EngineRun] = field(default_factory=list)

    def step(self, tokens: int, now: float, previous: float) -> None:
        """One step of one choice added `tokens`; `previous` is 0 at its first."""
        self.completion_tokens += tokens
        if previous:
            self.token_gap((now - previous) / (tokens or 1))
        elif self.first_token_seconds is None:
            self.first_token_seconds = now - self.started
            self.first_token(self.first_token_seconds)
