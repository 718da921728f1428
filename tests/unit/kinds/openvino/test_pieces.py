"""Prompts are read in pieces while others wait for their next token."""

from __future__ import annotations

import pytest

from stoker.kinds.openvino.runtime.pieces import KnownBlocks, Pieces
from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.stub.runtime import Output

BLOCK, MOST = 32, 256
SLOW = 0.01  # seconds for each token of a prompt: a block at a time, beside others


class Running:
    """A request in the engine: it reads what the prefix cache does not have, then gives a token in each step."""

    def __init__(self, generation: Generation, cached: int) -> None:
        self.generation, self.left = generation, len(generation.input_ids) - cached
        self.given = 0
        self.over = False
        self.output = Output((), ())

    def step(self, room: int) -> int:
        read = min(self.left, room)
        self.left -= read
        if not self.left and not self.over:
            self.given += 1
            self.over = self.given >= self.generation.max_tokens
            self.output = Output((7,), (0.0,), ended=self.over)
        return read

    def read(self) -> Output:
        output, self.output = self.output, Output((), (), ended=self.over)
        return output

    def cancel(self) -> None:
        self.over = True


class Engine:
    """`steps`: the tokens of prompts that each has read."""

    def __init__(self, blocks: int = 1000, most: int = MOST, per_token: float = SLOW) -> None:
        self.pieces = Pieces(self.begin, BLOCK, blocks, most)
        self.most = most
        self.per_token = per_token
        self.begun: list[Running] = []
        self.cached: set[tuple[int, ...]] = set()
        self.steps: list[int] = []
        self.sequences: list = []
        self.refuses = False

    def begin(self, generation: Generation) -> Running:
        if self.refuses:
            raise RequestRefusedError("the engine refused the request")
        ids = tuple(generation.input_ids)
        ends = range(BLOCK, len(ids), BLOCK)
        cached = max((end for end in ends if ids[:end] in self.cached), default=0)
        self.begun.append(Running(generation, cached))
        return self.begun[-1]

    def add(self, ids, new: int = 1000):
        self.sequences.append(self.pieces.add(Generation(str(len(self.sequences)), list(ids), new)))
        return self.sequences[-1]

    def step(self) -> None:
        self.pieces.move()
        running = [each for each in self.begun if not each.over]
        room = self.most - sum(1 for each in running if not each.left)
        read = 0
        for each in running:
            read += each.step(room - read)
            if not each.left:
                ids = tuple(each.generation.input_ids)
                self.cached |= {ids[:end] for end in range(BLOCK, len(ids) + 1, BLOCK)}
        self.steps.append(read)
        self.pieces.stepped(0.01 + read * self.per_token)
        for each in self.sequences:
            each.read()


def prompt(tokens: int, first: int) -> list[int]:
    return [first, *range(1000, 1000 + tokens - 1)]


@pytest.fixture
def engine() -> Engine:
    """With one sequence that decodes."""
    engine = Engine()
    engine.add(prompt(64, first=1))
    for _ in range(3):
        engine.step()
    engine.steps.clear()
    return engine


def test_alone_a_prompt_is_given_to_the_engine_whole():
    engine = Engine()
    engine.add(prompt(600, first=1))
    for _ in range(3):
        engine.step()
    assert engine.steps == [256, 256, 88]
    assert len(engine.begun) == 1


def test_beside_others_it_is_read_block_by_block(engine):
    came = engine.add(prompt(100, first=2), new=5)
    for _ in range(4):
        engine.step()
    assert engine.steps == [32, 32, 32, 4]
    assert came.ids == [7]
    assert [len(each.generation.input_ids) for each in engine.begun[1:]] == [32, 64, 96, 100]
    assert engine.begun[-1].generation is came.generation


def test_where_full_steps_are_quick_the_engine_fills_them():
    engine = Engine(per_token=0.0001)
    engine.add(prompt(64, first=1))
    for _ in range(3):
        engine.step()
    for first in (2, 3):
        engine.add(prompt(200, first), new=5)
    engine.step()
    assert [len(each.generation.input_ids) for each in engine.begun] == [64, 200, 200]
    assert engine.steps[-1] == MOST - 1


def test_what_the_prefix_cache_holds_is_not_read_in_pieces(engine):
    engine.add(prompt(320, first=2), new=1)
    for _ in range(11):
        engine.step()
    engine.steps.clear()
    engine.add([*prompt(320, first=2), 5, 6], new=1)
    engine.step()
    assert engine.steps == [2]


def test_what_a_sequence_gave_is_known_as_well(engine):
    first = engine.add(prompt(32, first=2), new=65)
    while not engine.begun[-1].over:
        engine.step()
    assert len(first.ids) == 65
    engine.cached.add((*prompt(32, first=2), *[7] * 64))
    engine.steps.clear()
    engine.add([*prompt(32, first=2), *[7] * 64, 8, 9], new=1)
    engine.step()
    assert engine.steps == [2]


def test_prompts_wait_for_their_turn(engine):
    long, short = engine.add(prompt(100, first=2), new=5), engine.add(prompt(20, first=3), new=5)
    for _ in range(3):
        engine.step()
    assert (long.running, short.running) == (None, None)
    engine.step()  # the last 4 of the first, and the second one
    assert engine.steps == [32, 32, 32, 24]
    assert long.ids == short.ids == [7]


def test_without_room_in_the_cache_nothing_is_taken_to_pieces():
    engine = Engine(blocks=8)
    for first, tokens in ((1, 64), (2, 200)):
        engine.add(prompt(tokens, first))
        engine.step()
        engine.step()
    assert len(engine.begun) == 2


def test_where_steps_have_hardly_room_for_decoding_the_engine_reads_prompts_by_itself():
    engine = Engine(most=16)
    for first in (1, 2):
        engine.add(prompt(40, first))
        for _ in range(4):
            engine.step()
    assert len(engine.begun) == 2
    assert engine.sequences[1].ids


def test_one_that_is_cancelled_reads_no_further(engine):
    gone, after = engine.add(prompt(100, first=2)), engine.add(prompt(20, first=3))
    engine.step()
    gone.cancel()
    assert engine.begun[-1].over
    engine.step()
    assert after.ids
    assert len(engine.begun) == 3


def test_a_refusal_reaches_the_sequence(engine):
    large, small = engine.add(prompt(100, first=2)), engine.add(prompt(20, first=3))
    engine.refuses = True
    engine.pieces.move()
    assert "refused the request" in large.read().refused
    assert "refused the request" in small.read().refused
    engine.refuses = False
    assert engine.add(prompt(20, first=4)).read().refused == ""
    engine.step()
    assert engine.sequences[-1].ids


def test_of_known_blocks_the_last_used_are_kept():
    known = KnownBlocks(BLOCK, kept=3)
    first, second = known.hashes(prompt(64, first=1)), known.hashes(prompt(64, first=2))
    known.note(first)
    known.note(second)
    assert known.tokens(second) == 64
    assert known.tokens(first) == 0  # without its first block the rest is not found
    known.forget()
    assert known.tokens(second) == 0
