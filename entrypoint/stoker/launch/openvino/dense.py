"""The fallback runtime, for graphs whose attention the paged kernels cannot express (soft-capped logits of Gemma 2).

Each running sequence has an infer request with a state of its own; the steps of several are run one after another.
There is no prefix caching.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino

from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.openvino.choice import GRAPH
from stoker.launch.openvino.sampler import Sampler
from stoker.launch.settings import EngineSettings, compile_properties
from stoker.launch.stub.runtime import Output


class DenseSequence:
    """`done` counts the tokens that are in the state; those of `tokens` past it are still to be run."""

    def __init__(self, generation: Generation, request: Any) -> None:
        self.tokens = [int(token) for token in generation.input_ids]
        self.done = 0
        self.cancelled = False
        self.output = Output((), ())
        self.request = request
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
            self.request.reset_state()
            self.done = 0

    def give_up(self) -> None:
        """For lack of memory."""
        self.output = Output(self.output.ids, self.output.log_probs, ended=True, out_of_memory=True)

    def run(self, budget: int) -> int:
        """One inference over at most `budget` tokens; returns how many. The last of a prompt gives a token."""
        ids = self.tokens[self.done : self.done + budget]
        logits = self._infer(ids)
        self.done += len(ids)
        if self.done == len(self.tokens):
            self._take(*self._sampler.draw(logits))
        return len(ids)

    def _infer(self, ids: list[int]) -> npt.NDArray[np.float32]:
        end = self.done + len(ids)
        self.request.infer(
            {
                "input_ids": np.array([ids], np.int64),
                "attention_mask": np.ones((1, end), np.int64),
                "position_ids": np.arange(self.done, end, dtype=np.int64)[None],
                "beam_idx": np.zeros(1, np.int32),
            }
        )
        return np.asarray(self.request.get_tensor("logits").data[0, -1], np.float32)

    def _take(self, token: int, log_prob: float) -> None:
        wish = self._generation
        self.tokens.append(token)
        self._produced += 1
        ended = token in wish.end_ids or self._produced >= wish.max_tokens
        self.output = Output((token,), (log_prob,), ended=ended)


class DenseRuntime:
    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._capacity = settings.kv_blocks * settings.kv_block_tokens
        graph = Path(settings.engine_directory) / GRAPH
        self._compiled: Any = openvino.Core().compile_model(graph, "CPU", compile_properties(settings))
        self._running: list[DenseSequence] = []
        self._idle: list[Any] = []

    def add(self, generation: Generation) -> DenseSequence:
        if len(generation.input_ids) >= min(self._capacity, self._settings.max_seq_len):
            raise RequestRefusedError(f"the prompt of {len(generation.input_ids)} tokens is too long")
        if generation.guide is not None:
            raise RequestRefusedError("this model's engine has no guided decoding", why="its attention is not paged")
        sequence = DenseSequence(generation, self._idle.pop() if self._idle else self._compiled.create_infer_request())
        self._running.append(sequence)
        return sequence

    def step(self) -> None:
        """One token for each sequence past its prompt; the others share what is left of the step's tokens."""
        self._release()
        budget = self._settings.max_num_tokens
        for sequence in sorted(self._fitting(), key=lambda each: len(each.tokens) - each.done):
            if budget > 0:
                budget -= sequence.run(budget)
        self._release()

    def _fitting(self) -> list[DenseSequence]:
        """The eldest, as many as the cache has room for. The younger wait; one that does not fit alone is given up."""
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
            sequence.request.reset_state()
            self._idle.append(sequence.request)

    def close(self) -> None:
        self._running.clear()
        self._idle.clear()
        self._compiled = None
