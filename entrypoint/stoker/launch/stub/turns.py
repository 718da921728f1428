"""A runtime for engines that run one sequence at a time: each keeps a state of its own, and they take turns.

There is neither paging nor prefix caching. What a step computes is bounded all the same, and so is what the states
hold: the oldest sequences that fit run, the younger wait and compute their tokens anew.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from stoker.launch.generation import Generation, RequestRefusedError, Top
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Output
from stoker.launch.stub.sampler import Logits, Sampler
from stoker.launch.stub.scoring import Scorer, likeliest
from stoker.launch.stub.step_times import StepTimes

_LEAST_PIECE = 16  # tokens of a prompt


class Session(Protocol):
    """One sequence's state in the engine, used for one sequence after another."""

    def infer(self, ids: Sequence[int], done: int, *, every: bool = False) -> Logits:
        """Appends `ids` to the `done` tokens that the state holds: the last one's logits, f32 [vocabulary], or those of
        `every` one, [ids, vocabulary], until it is used again."""
        ...

    def reset(self) -> None:
        """Empties the state and gives its memory back."""
        ...


class TurnSequence:
    """`done` counts the tokens that are in the state; those of `tokens` past it are still to be run. `session` is None
    of one that waits for a state. `ran`: in which step it was run last."""

    def __init__(self, generation: Generation) -> None:
        self.tokens = [int(token) for token in generation.input_ids]
        self.done = 0
        self.cancelled = False
        self.output = Output((), ())
        self.session: Session | None = None
        self.ran = 0
        self._generation = generation
        self._sampler = Sampler(generation)
        scored = generation.prompt_log_probs
        self._scorer = None if scored is None else Scorer(self.tokens, scored)
        self._produced = 0

    @property
    def due(self) -> int:
        """Tokens to be run until it gives the next one."""
        return len(self.tokens) - self.done

    @property
    def finished(self) -> bool:
        return self.cancelled or self.output.ended

    def read(self) -> Output:
        output = self.output
        self.output = Output((), (), output.ended, output.out_of_memory)
        return output

    def cancel(self) -> None:
        self.cancelled = True

    def park(self) -> Session | None:
        """Gives the state up, emptied, for the time being; its tokens will be run again."""
        session, self.session, self.done = self.session, None, 0
        if session is not None:
            session.reset()
        return session

    def give_up(self) -> None:
        """For lack of memory."""
        self.output = replace(self.output, ended=True, out_of_memory=True)

    def run(self, budget: int) -> int:
        """One inference over at most `budget` tokens; returns how many. The last of a prompt gives a token."""
        assert self.session is not None
        ids = self.tokens[self.done : self.done + budget]
        every = self._scorer is not None and not self._scorer.over
        logits = self.session.infer(ids, self.done, every=every)
        if every and self._scorer is not None:
            self._scorer.take(logits, self.done)
            logits = logits[-1]
        self.done += len(ids)
        if self.done == len(self.tokens):
            self._go_on(logits)
        return len(ids)

    def _go_on(self, logits: Logits) -> None:
        """With the next token of logits [vocabulary], and before the first one with the prompt's scores."""
        generation, first = self._generation, self._produced == 0
        prompt = self._scorer.scores() if self._scorer is not None and first else None
        if not generation.max_tokens:
            self.output = Output((), (), ended=True, prompt=prompt)
            return
        token, log_prob = self._sampler.draw(logits)
        top: list[Top] = [likeliest(logits, generation.top_log_probs)] if generation.top_log_probs else []
        self.tokens.append(token)
        self._produced += 1
        ended = token in generation.end_ids or self._produced >= generation.max_tokens
        self.output = Output((token,), (log_prob,), ended=ended, top=top, prompt=prompt)


class TurnsRuntime:
    """`open_session` gives an empty state; an idle one is used again before another is opened. `at_once`: of how many
    sequences there are states. `ran`: tokens of the last step."""

    def __init__(
        self, settings: EngineSettings, open_session: Callable[[], Session], at_once: int = sys.maxsize
    ) -> None:
        self._settings = settings
        self._at_once = at_once
        self._steps = self.ran = 0
        self._times = StepTimes(_LEAST_PIECE)
        self._capacity = settings.kv.tokens
        self._open_session = open_session
        self._running: list[TurnSequence] = []
        self._idle: list[Session] = []

    def add(self, generation: Generation) -> TurnSequence:
        if len(generation.input_ids) >= self._settings.capacity:
            raise RequestRefusedError(f"the prompt of {len(generation.input_ids)} tokens is too long")
        if generation.guide is not None:
            raise RequestRefusedError("this model's engine has no guided decoding", why="its attention is not paged")
        sequence = TurnSequence(generation)
        self._running.append(sequence)
        return sequence

    def step(self, most: int | None = None, tokens: int = sys.maxsize) -> None:
        """One token for each sequence past its prompt; the others share what is left of the step's tokens, or less of
        them where steps take long. `most`: of so many, those that have waited longest; `tokens`: no more in all."""
        self._release()
        self._steps += 1
        chosen = sorted(self._fitting(), key=lambda each: each.ran)[:most]
        allowed = min(self._settings.chosen.max_num_tokens, tokens)
        decoding = min(sum(each.due == 1 for each in chosen), allowed)
        budget = decoding + self._to_read(allowed - decoding, decoding)
        began, self.ran = time.monotonic(), 0
        for sequence in sorted(chosen, key=lambda each: each.due):
            if self.ran < budget:
                sequence.ran = self._steps
                self.ran += sequence.run(budget - self.ran)
        self._times.note(time.monotonic() - began, self.ran - decoding, decoding)
        self._release()

    def _to_read(self, room: int, decoding: int) -> int:
        return self._times.to_read(room) if decoding else room

    def _fitting(self) -> list[TurnSequence]:
        """The oldest, as many as there are states, and the states have room for. One that does not fit alone is given
        up."""
        totals = itertools.accumulate(len(each.tokens) for each in self._running)
        count = min(sum(total <= self._capacity for total in totals), self._at_once)
        for sequence in self._running[count:]:
            self._keep(sequence.park())
        if count == 0 and self._running:
            self._running[0].give_up()
        for sequence in self._running[:count]:
            if sequence.session is None:
                sequence.session = self._idle.pop() if self._idle else self._open_session()
        return self._running[:count]

    def _keep(self, session: Session | None) -> None:
        if session is not None:
            self._idle.append(session)

    def _release(self) -> None:
        """States of sequences that are over are emptied at once, to be used again."""
        for sequence in [each for each in self._running if each.finished]:
            self._running.remove(sequence)
            self._keep(sequence.park())

    def close(self) -> None:
        self._running.clear()
        self._idle.clear()
