"""How many tokens of prompts a step may read while sequences wait for their next token: by how long steps have taken.

Every token of a prompt that a step reads makes the others' gap longer, and how much depends on the model and the
machine, so that it is measured as the engine runs. Medians of the last steps: a step may compile a kernel, and other
work may share the machine.
"""

from __future__ import annotations

import statistics
from collections import deque

# Seconds between two tokens: no reader of a text waits long. With half of it, many prompts that come at the same time
# took a fifth longer with their answers (docs/performance.md).
LONGEST_GAP = 0.5
_SLOWER = 2.0  # times as long as a step that only decodes, where that alone takes long
_REMEMBERED = 9  # steps


def tokens_to_read(usual: float, per_token: float, least: int, most: int) -> int:
    """As many as a step has time for: a multiple of `least`, and at least that, or `most`.

    `usual`: seconds of a step that reads no prompt; `per_token`: seconds that each token of a prompt adds; 0 where it
    is not known.
    """
    spare = max(LONGEST_GAP, _SLOWER * usual) - usual
    if spare >= most * per_token:
        return most
    return max(int(spare / per_token + 1e-9) // least * least, min(least, most))


class StepTimes:
    """Of one engine, as it runs. Fewer than `least` tokens of prompts in a step say nothing about one."""

    def __init__(self, least: int) -> None:
        self._least = least
        self._usual: deque[float] = deque(maxlen=_REMEMBERED)
        self._per_token: deque[float] = deque(maxlen=_REMEMBERED)

    @property
    def usual(self) -> float:
        return statistics.median(self._usual) if self._usual else 0.0

    @property
    def per_token(self) -> float:
        return statistics.median(self._per_token) if self._per_token else 0.0

    def note(self, seconds: float, read: int, decoding: int) -> None:
        """What a step took that read so many tokens of prompts, while so many sequences were past theirs."""
        if not read and decoding:
            self._usual.append(seconds)
        elif read >= self._least:
            alone = self.usual if decoding else 0.0
            self._per_token.append(max(seconds - alone, 0.0) / read)

    def to_read(self, most: int) -> int:
        """Tokens of prompts that the next step may read, beside sequences that wait for their next token."""
        return tokens_to_read(self.usual, self.per_token, self._least, most)
