"""A runtime for engines that run one sequence at a time: each keeps a state of its own, and they take turns.

There is neither paging nor prefix caching. What a step computes is bounded all the same, and so is what the states
hold: the eldest sequences that fit run, the younger wait and compute their tokens anew.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Protocol

from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Output
from stoker.launch.stub.sampler import Logits, Sampler


class Session(Protocol):
    """One sequence's state in the engine, used for one sequence after another."""

    def infer(self, ids: Sequence[int], done: int) -> Logits:
        """Appends `ids` to the `done` tokens that the state holds: the last one's logits, f32 [vocabulary]."""
        ...

    def reset(self) -> None:
        """Empties the state and gives its memory back."""
        ...


class TurnSequence:
    """`done` counts the tokens that are in the state; those of `tokens` past it are still to be run."""

    def __init__(self, generation: Generation, session: Session) -> None:
        self.tokens = [int(token) for token in generation.input_ids]
        self.done = 0
        self.cancelled = False
        self.output = Output((), ())
        self.session = session
        self._generation = generation
        self._sampler = Sampler(generation)
        self._produced = 0

    @property
    def finished(self) -> bool:
        return self.cancelled or self.output.ended

    def read(self) -> Output:
        output = self.output
        self.output = Output((), (), output.ended, output.out_of_memory)
        return output

    def cancel(self) -> None:
        self.cancelled = True

    def park(self) -> None:
        """Gives the state up for the time being; its tokens will be run again."""
        if self.done:
            self.session.reset()
            self.done = 0

    def give_up(self) -> None:
        """For lack of memory."""
        self.output = Output(self.output.ids, self.output.log_probs, ended=True, out_of_memory=True)

    def run(self, budget: int) -> int:
        """One inference over at most `budget` tokens; returns how many. The last of a prompt gives a token."""
        ids = self.tokens[self.done : self.done + budget]
        logits = self.session.infer(ids, self.done)
        self.done += len(ids)
        if self.done == len(self.tokens):
            self._take(*self._sampler.draw(logits))
        return len(ids)

    def _take(self, token: int, log_prob: float) -> None:
        wish = self._generation
        self.tokens.append(token)
        self._produced += 1
        ended = token in wish.end_ids or self._produced >= wish.max_tokens
        self.output = Output((token,), (log_prob,), ended=ended)


class TurnsRuntime:
    """`open_session` gives an empty state; an idle one is used again before another is opened."""

    def __init__(self, settings: EngineSettings, open_session: Callable[[], Session]) -> None:
        self._settings = settings
        self._capacity = settings.kv.tokens
        self._open_session = open_session
        self._running: list[TurnSequence] = []
        self._idle: list[Session] = []

    def add(self, generation: Generation) -> TurnSequence:
        if len(generation.input_ids) >= self._settings.capacity:
            raise RequestRefusedError(f"the prompt of {len(generation.input_ids)} tokens is too long")
        if generation.guide is not None:
            raise RequestRefusedError("this model's engine has no guided decoding", why="its attention is not paged")
        sequence = TurnSequence(generation, self._idle.pop() if self._idle else self._open_session())
        self._running.append(sequence)
        return sequence

    def step(self) -> None:
        """One token for each sequence past its prompt; the others share what is left of the step's tokens."""
        self._release()
        budget = self._settings.chosen.max_num_tokens
        for sequence in sorted(self._fitting(), key=lambda each: len(each.tokens) - each.done):
            if budget > 0:
                budget -= sequence.run(budget)
        self._release()

    def _fitting(self) -> list[TurnSequence]:
        """The eldest, as many as the states have room for. One that does not fit alone is given up."""
        totals = itertools.accumulate(len(each.tokens) for each in self._running)
        count = sum(total <= self._capacity for total in totals)
        for sequence in self._running[count:]:
            sequence.park()
        if count == 0 and self._running:
            self._running[0].give_up()
        return self._running[:count]

    def _release(self) -> None:
        """States of sequences that are over are emptied at once, to be used again."""
        for sequence in [each for each in self._running if each.finished]:
            self._running.remove(sequence)
            sequence.session.reset()
            self._idle.append(sequence.session)

    def close(self) -> None:
        self._running.clear()
        self._idle.clear()
