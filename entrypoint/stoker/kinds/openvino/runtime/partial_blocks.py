"""Keeps sequences from writing into one another's KV cache, which OpenVINO GenAI 2026.4.1 lets them do.

Its prefix cache also finds the last block of a sequence that has ended, which is filled only in part. Sequences that
begin with all that is in such a block and find it in the same step are given the block itself, not copies of it: each
goes on writing where the others write, and all but one give a wrong answer. So a sequence that may find such a block is
started alone, and the next one once it has read its prompt: then the block is its own and can no longer be found.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import Protocol

from stoker.launch.generation import Generation
from stoker.launch.stub.runtime import Output
from stoker.launch.stub.waiting import Begin, WaitingSequence


class PartialBlocks:
    """What ended sequences held, by a hash of the tokens, without whole blocks; the latest `kept` of them."""

    def __init__(self, block_tokens: int, kept: int) -> None:
        self._block_tokens = block_tokens
        self._kept = kept
        self._known: OrderedDict[int, None] = OrderedDict()

    def note(self, hashes: Sequence[int], fewest: int) -> None:
        """That a sequence with these `prefix_hashes` has ended, and held `fewest` tokens or more of them."""
        for count in range(max(fewest, 1), len(hashes) + 1):
            if count % self._block_tokens:
                self._known[hashes[count - 1]] = None
                self._known.move_to_end(hashes[count - 1])
        while len(self._known) > self._kept:
            self._known.popitem(last=False)

    def may_find(self, hashes: Iterable[int]) -> bool:
        return any(each in self._known for each in hashes)


def prefix_hashes(tokens: Iterable[int], before: int = 0) -> list[int]:
    """One for each beginning of `tokens`, shortest first; `before`: the hash of what precedes them."""
    hashes = []
    for token in tokens:
        before = hash((before, int(token)))
        hashes.append(before)
    return hashes


class Following(Protocol):
    """What a sequence reports to."""

    def over(self, sequence: StaggeredSequence) -> None: ...


class StaggeredSequence(WaitingSequence):
    """`reading` until its first token has come."""

    def __init__(self, generation: Generation, told: Following) -> None:
        super().__init__(generation)
        self.hashes = prefix_hashes(generation.input_ids)
        self.prompt = len(self.hashes)
        self.reading = True
        self._told = told

    def begin(self, begin: Begin) -> None:
        super().begin(begin)
        self.reading = self.running is not None

    def note(self, output: Output) -> None:
        if output.ids or output.ended:
            self.reading = False
            self.hashes += prefix_hashes(output.ids, self.hashes[-1] if self.hashes else 0)
        if output.ended:
            self._told.over(self)

    def cancel(self) -> None:
        super().cancel()
        if self.running is not None:
            self._told.over(self)
        self.reading = False


class StaggeredStart:
    """Starts sequences: immediately, or one after another those that may find a partial block, or `always`."""

    def __init__(self, begin: Begin, block_tokens: int, blocks: int, *, always: bool = False) -> None:
        self._begin = begin
        self._always = always
        self._partial = PartialBlocks(block_tokens, kept=4 * blocks)
        self._held: deque[StaggeredSequence] = deque()
        self._reading: StaggeredSequence | None = None

    def add(self, generation: Generation) -> StaggeredSequence:
        """RequestRefusedError where it is begun, and refused, at once."""
        sequence = StaggeredSequence(generation, self)
        if self._always or self._partial.may_find(sequence.hashes):
            self._held.append(sequence)
        else:
            sequence.running = self._begin(generation)
        return sequence

    def move(self) -> None:
        """Between two steps of the engine."""
        while self._held and (self._reading is None or not self._reading.reading):
            self._reading = self._held.popleft()
            if self._reading.reading:
                self._reading.begin(self._begin)

    def over(self, sequence: StaggeredSequence) -> None:
        """What it leaves: of the tokens that it gave the last is not in the cache yet; of a prompt that was not read to
        its end, nobody knows how much is."""
        fewest = 1 if sequence.reading else max(len(sequence.hashes) - 1, sequence.prompt)
        self._partial.note(sequence.hashes, fewest)
