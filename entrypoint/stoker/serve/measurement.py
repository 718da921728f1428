"""What is measured of one request, in seconds of `time.perf_counter`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Measurement:
    """`first_token` and `token_gap` hear of each engine step as it comes; a gap is seconds for one token."""

    first_token: Callable[[float], None]
    token_gap: Callable[[float], None]
    started: float
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reasons: list[str] = field(default_factory=list)
    seen_first: bool = False

    def step(self, tokens: int, now: float, previous: float) -> None:
        """One step of one choice added `tokens`; `previous` is 0 at its first."""
        self.completion_tokens += tokens
        if previous:
            self.token_gap((now - previous) / (tokens or 1))
        elif not self.seen_first:
            self.seen_first = True
            self.first_token(now - self.started)
