"""How much of the engine's time goes into talking to Triton.

A response costs Triton's Python backend about 0.1 ms whatever it holds, and so does asking whether a request has been
cancelled. While few sequences run, or steps are slow, each token is sent at once; when that would take more than a
small share of the engine's time, tokens are gathered. Our own client says by a `stop` request which one to end, so that
asking is for those whose stop got lost: in turn, as many as a smaller share of the time allows.
"""

from __future__ import annotations

import math

ALWAYS_SINGLE = 4  # so many running sequences get every token at once, however fast the engine
MOST = 8  # tokens in one response at most, so that text still flows
SHARE = 0.05  # of a step's time that sending may take before tokens are gathered
ASKING_SHARE = 0.01  # of all time that asking for cancellation may take
_SMOOTHING = 0.1


class Pacer:
    """Follows the engine's pace by exponential averages, in seconds."""

    def __init__(self) -> None:
        self._step = 0.0
        self._response = 0.0

    def stepped(self, seconds: float) -> None:
        self._step += _SMOOTHING * (seconds - self._step)

    def sent(self, responses: int, seconds: float) -> None:
        if responses:
            self._response += _SMOOTHING * (seconds / responses - self._response)

    def interval(self, running: int, responses: int) -> int:
        """Tokens that a running sequence gathers before they are sent: 1 to MOST. `responses` a step would be sent if
        none were gathered: one for each sequence that stands alone, one for each channel."""
        if running <= ALWAYS_SINGLE or self._step <= 0:
            return 1
        return min(MOST, max(1, math.ceil(responses * self._response / (SHARE * self._step))))


class AskingBudget:
    """How many requests may be asked about now, so that asking takes its share of the time and no more."""

    def __init__(self) -> None:
        self._credit = 0.0
        self._cost = 1e-4

    def allowance(self, seconds: float, requests: int) -> int:
        """`seconds` have passed since the last call; of `requests` in the engine, this many may be asked about."""
        self._credit = min(self._credit + ASKING_SHARE * seconds, requests * self._cost)
        return min(requests, int(self._credit / self._cost + 1e-9))

    def spent(self, asked: int, seconds: float) -> None:
        if asked:
            self._credit = max(0.0, self._credit - seconds)
            self._cost += _SMOOTHING * (seconds / asked - self._cost)
