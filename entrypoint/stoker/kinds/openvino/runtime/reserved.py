"""Room in the KV cache for each sequence up to its end, for engines that guess tokens.

When the cache is full, OpenVINO GenAI 2026.4.1 takes a sequence out of it and reads its text again later. With guesses
that goes wrong: the text goes on with the token id -1 where guesses are looked up, a token comes twice where a model
guesses, and a head stops the engine. So a sequence is begun only when all that run and itself have room to their ends.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.stub.runtime import Output
from stoker.launch.stub.waiting import Begin, WaitingSequence

_CANCELLED_STEPS = 2  # of the engine, until it has freed what a cancelled sequence held


class Leaving(Protocol):
    """What a sequence reports to."""

    def ended(self, sequence: ReservedSequence) -> None: ...

    def cancelled(self, sequence: ReservedSequence) -> None: ...


class ReservedSequence(WaitingSequence):
    """`blocks` that it takes at its end."""

    def __init__(self, generation: Generation, blocks: int, told: Leaving) -> None:
        super().__init__(generation)
        self.blocks = blocks
        self._told = told

    def note(self, output: Output) -> None:
        if output.ended:
            self._told.ended(self)

    def cancel(self) -> None:
        super().cancel()
        self._told.cancelled(self)


class Reserved:
    """Begins sequences in their order. One that takes more than all blocks runs alone."""

    def __init__(self, begin: Begin, blocks: int, block_tokens: int) -> None:
        self._begin = begin
        self._blocks = blocks
        self._block_tokens = block_tokens
        self._waiting: deque[ReservedSequence] = deque()
        self._held: dict[ReservedSequence, int] = {}  # steps until the blocks are free; 0 while it runs

    def add(self, generation: Generation) -> ReservedSequence:
        """RequestRefusedError where it is begun, and refused, at once."""
        tokens = len(generation.input_ids) + generation.max_tokens
        blocks = -(-tokens // self._block_tokens) + 1  # guesses reach into one more
        sequence = ReservedSequence(generation, blocks, self)
        self._waiting.append(sequence)
        self._begin_waiting()
        if sequence.refused:
            raise RequestRefusedError(sequence.refused)
        return sequence

    def move(self) -> None:
        """Between two steps of the engine."""
        for sequence, steps in list(self._held.items()):
            if steps == 1:
                del self._held[sequence]
            elif steps:
                self._held[sequence] -= 1
        self._begin_waiting()

    def _begin_waiting(self) -> None:
        while self._waiting and self._has_room(self._waiting[0]):
            sequence = self._waiting.popleft()
            sequence.begin(self._begin)
            if sequence.running is not None:
                self._held[sequence] = 0

    def _has_room(self, sequence: ReservedSequence) -> bool:
        held = sum(each.blocks for each in self._held)
        return not self._held or held + sequence.blocks <= self._blocks

    def ended(self, sequence: ReservedSequence) -> None:
        self._held.pop(sequence, None)

    def cancelled(self, sequence: ReservedSequence) -> None:
        if sequence in self._held:
            self._held[sequence] = _CANCELLED_STEPS
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
