"""Prompts in pieces: small ones while other sequences wait for their next token, whole ones otherwise.

OpenVINO GenAI 2026.4.1 fills each step up to `max_num_batched_tokens`, which is fixed when the pipeline is opened. So a
piece is a request of its own: the prompt up to some whole block, and one token that nobody gets. The next piece finds
what was read in the prefix cache, and so does, at last, the request itself. Pieces end with a block, since a block that
is filled in part could be found too, and shared (partial_blocks.py).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Protocol

from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.stub.runtime import Output, RunningSequence
from stoker.launch.stub.step_times import StepTimes
from stoker.launch.stub.waiting import Begin, WaitingSequence


class KnownBlocks:
    """What the prefix cache should still hold: hashes of whole blocks, the `kept` that were used last. Where it errs, a
    step reads more or less than it could."""

    def __init__(self, block_tokens: int, kept: int) -> None:
        self._block_tokens = block_tokens
        self._kept = kept
        self._known: OrderedDict[int, None] = OrderedDict()

    def hashes(self, tokens: Sequence[int]) -> list[int]:
        """One for each whole block and all before it."""
        size, before, hashes = self._block_tokens, 0, []
        for end in range(size, len(tokens) + 1, size):
            before = hash((before, *tokens[end - size : end]))
            hashes.append(before)
        return hashes

    def note(self, hashes: Sequence[int]) -> None:
        for each in hashes:
            self._known[each] = None
            self._known.move_to_end(each)
        while len(self._known) > self._kept:
            self._known.popitem(last=False)

    def tokens(self, hashes: Sequence[int]) -> int:
        """How many tokens at the beginning are there."""
        count = next((place for place, each in enumerate(hashes) if each not in self._known), len(hashes))
        return count * self._block_tokens

    def forget(self) -> None:
        self._known.clear()


class Following(Protocol):
    """What a sequence reports to."""

    def was_read(self, sequence: PiecewiseSequence) -> None: ...

    def over(self, sequence: PiecewiseSequence) -> None: ...


class PiecewiseSequence(WaitingSequence):
    """`piece` is the request that reads a part of the prompt now, `part` how many tokens that ends with; `left` are the
    tokens to read of a sequence that has begun itself."""

    def __init__(self, generation: Generation, blocks: Sequence[int], told: Following) -> None:
        super().__init__(generation)
        self.blocks = blocks
        self.prompt = len(generation.input_ids)
        self.ids: list[int] = []
        self.piece: RunningSequence | None = None
        self.part = self.left = 0
        self._told = told

    def note(self, output: Output) -> None:
        if output.ids and not self.ids:
            self._told.was_read(self)
        self.ids += output.ids
        if output.over:
            self._told.over(self)

    def cancel(self) -> None:
        super().cancel()
        if self.piece is not None:
            self.piece.cancel()
        self._told.over(self)


class Pieces:
    """Begins sequences in their order. `most`: tokens of a step; `blocks` of `block_tokens` are the cache."""

    def __init__(self, begin: Begin, block_tokens: int, blocks: int, most: int) -> None:
        self._begin = begin
        self._block_tokens = block_tokens
        self._blocks = blocks
        self._most = most
        self._known = KnownBlocks(block_tokens, blocks)
        self._times = StepTimes(block_tokens)
        self._waiting: deque[PiecewiseSequence] = deque()
        self._begun: list[PiecewiseSequence] = []
        self._reading = 0  # tokens of prompts in the next step

    def add(self, generation: Generation) -> PiecewiseSequence:
        sequence = PiecewiseSequence(generation, self._known.hashes(generation.input_ids), self)
        self._waiting.append(sequence)
        return sequence

    def move(self) -> None:
        """Between two steps of the engine."""
        decoding = self._decoding()
        room = self._most - decoding
        fitting = self._times.to_read(room)
        self._reading = min(sum(each.left for each in self._begun), room)
        if fitting == room:  # full steps are quick enough for everybody, and the engine fills them best
            fitting = sum(each.prompt for each in self._waiting) + self._reading
        elif not decoding:
            fitting = room
        while self._waiting and self._goes_on(self._waiting[0], fitting - self._reading):
            self._waiting.popleft()

    def stepped(self, seconds: float) -> None:
        """After a step of the engine that took so long."""
        decoding = self._decoding()
        room = min(self._reading, self._most - decoding)
        self._times.note(seconds, room, decoding)
        for sequence in self._begun:
            read = min(sequence.left, room)
            sequence.left -= read
            room -= read

    def _decoding(self) -> int:
        return sum(1 for each in self._begun if each.ids)

    def _goes_on(self, sequence: PiecewiseSequence, room: int) -> bool:
        """The first of those that wait, in the next step, which may read so many tokens; whether it begins itself."""
        if sequence.piece is not None and not sequence.piece.read().over:
            return False
        if sequence.piece is not None:
            self._known.note(sequence.blocks[: sequence.part // self._block_tokens])
            sequence.piece = None
        known = min(self._known.tokens(sequence.blocks), sequence.prompt - 1)
        left = sequence.prompt - known
        cramped = (
            room < self._block_tokens and not self._reading
        )  # where hardly more than a token each fits into a step
        if left <= room or cramped or not self._begun or not self._has_room(sequence):
            self._start(sequence, left)
        else:
            self._read_part(sequence, known, room)
        return sequence.running is not None or bool(sequence.refused)

    def _start(self, sequence: PiecewiseSequence, left: int) -> None:
        sequence.begin(self._begin)
        if sequence.running is not None:
            sequence.left = left
            self._reading += left
            self._begun.append(sequence)

    def _read_part(self, sequence: PiecewiseSequence, known: int, room: int) -> None:
        """Nothing where there is no room for a block."""
        part = (known + room) // self._block_tokens * self._block_tokens
        if part <= known:
            return
        given = sequence.generation
        try:
            sequence.piece = self._begin(Generation(given.request_id, given.input_ids[:part], 1))
        except RequestRefusedError as error:
            sequence.refused = str(error)
            return
        sequence.part = part
        self._reading += part - known

    def _has_room(self, sequence: PiecewiseSequence) -> bool:
        """Whether the cache holds what runs and its prompt: else pieces might be evicted before they are found."""
        tokens = [each.prompt + len(each.ids) for each in (*self._begun, sequence)]
        return sum(each // self._block_tokens + 2 for each in tokens) <= self._blocks

    def was_read(self, sequence: PiecewiseSequence) -> None:
        sequence.left = 0
        self._known.note(sequence.blocks)

    def over(self, sequence: PiecewiseSequence) -> None:
        if sequence in self._begun:
            self._begun.remove(sequence)
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
        if sequence.ids:
            self._known.note(self._known.hashes([*sequence.generation.input_ids, *sequence.ids[:-1]]))

    def forget(self) -> None:
        """That the cache holds anything."""
        self._known.forget()
