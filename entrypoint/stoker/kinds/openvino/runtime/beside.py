"""Requests that need logits, which OpenVINO GenAI's sampler keeps to itself: the graph is run beside it for them.

GenAI reports a chosen token's log probability and no others, adds no bias, and scores no prompt with its
likeliest tokens. So requests for these get logits from the same graph, compiled once more and run as dense attention,
prompts in pieces of a few megabytes of logits, and a sampler of our own. What is compiled is a second copy of the
weights: it is made when the first such request comes, if there is memory for it, and given up when none came for a
while.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from stoker.kinds.openvino.files import WEIGHTS
from stoker.kinds.openvino.runtime.dense import DenseRuntime
from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.turns import TurnsRuntime
from stoker.launch.stub.waiting import WaitingSequence
from stoker.plan.units import size_text
from stoker.probe.memory import available_memory

KEPT_SECONDS = 300.0
_PIECE_BYTES = 32 << 20  # of logits
_LEAST_PIECE, _LARGEST_PIECE = 16, 256  # tokens
_AT_ONCE = 4  # sequences with a state and buffers of their own
_BUFFERS = 4  # of a piece's size, for each
_STATES = 12  # copies of a state while it grows, in 32 bits where the cache has 8
_LOADING_POLL_SECONDS = 0.02
# What a step may take while others wait for their next token: as much as one of theirs, and at least so long.
_STEP_SECONDS = 0.02


def needs_logits(generation: Generation) -> bool:
    """Whether GenAI alone does not tell what is asked for."""
    told = generation.top_log_probs <= int(is_greedy(generation))
    return generation.embedding_bias is not None or generation.prompt_log_probs is not None or not told


def is_greedy(generation: Generation) -> bool:
    """Whether the chosen token is the likeliest."""
    penalties = (generation.presence_penalty, generation.frequency_penalty, generation.repetition_penalty)
    free = generation.guide is None and not generation.min_tokens
    return free and generation.temperature <= 0 and all(each is None for each in penalties)


def _asked(generation: Generation) -> str:
    """What needs logits."""
    if generation.prompt_log_probs is not None:
        return "the log probabilities of the prompt"
    return "likeliest tokens" if generation.embedding_bias is None else "logit_bias"


class BesideSequence(WaitingSequence):
    """It waits until the graph is loaded."""

    @property
    def over(self) -> bool:
        return bool(self.refused) or (self.running is not None and getattr(self.running, "finished", False))


class Beside:
    """Everything but the loading belongs to the engine's thread."""

    def __init__(self, settings: EngineSettings, room: Callable[[], int] = available_memory) -> None:
        self._settings = settings
        self._room = room
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="beside")
        self._sequences: list[BesideSequence] = []
        self._loading: Future[TurnsRuntime] | None = None
        self._runtime: TurnsRuntime | None = None
        self._used = self._stepped = 0.0
        self._tokens = _LEAST_PIECE  # of a piece while others wait

    @property
    def busy(self) -> bool:
        """Whether it has something to do."""
        return bool(self._sequences)

    @property
    def loaded(self) -> bool:
        return self._runtime is not None

    def add(self, generation: Generation) -> BesideSequence:
        """RequestRefusedError for what cannot be done here either, or not for lack of memory."""
        for what, given in (("a form of the text", generation.guide), ("an adapter", generation.adapter)):
            if given is not None:
                why = "requests that need logits run beside the engine"
                raise RequestRefusedError(f"{what} is not available with {_asked(generation)}", why=why)
        if self._runtime is None and self._loading is None:
            self._check_room()
            self._loading = self._thread.submit(self._load)
        sequence = BesideSequence(generation)
        self._sequences.append(sequence)
        return sequence

    def step(self, *, others: bool) -> None:
        """One piece of a prompt or one token; where there are no `others` that wait for their next token, one each."""
        self._sequences = [each for each in self._sequences if not each.over]
        if self._sequences:
            self._used = time.monotonic()
        elif self._runtime is not None and time.monotonic() - self._used > KEPT_SECONDS:
            self._runtime.close()
            self._runtime = None
        if self._loading is not None:
            self._take_loaded(self._loading, wait=not others)
        if self._runtime is not None and self._sequences:
            self._begin(self._runtime)
            self._run(self._runtime, others=others)

    def _run(self, runtime: TurnsRuntime, *, others: bool) -> None:
        now = time.monotonic()
        if not others:
            runtime.step()
            self._stepped = time.monotonic()
            return
        wanted = max(now - self._stepped, _STEP_SECONDS)
        runtime.step(1, self._tokens)
        self._stepped = time.monotonic()
        if runtime.ran > 1:  # a piece of a prompt
            fitting = runtime.ran * wanted / (self._stepped - now)
            self._tokens = max(_LEAST_PIECE, min(int(fitting), 2 * runtime.ran, _LARGEST_PIECE))

    def _take_loaded(self, loading: Future[TurnsRuntime], *, wait: bool) -> None:
        if not loading.done():
            if wait:
                time.sleep(_LOADING_POLL_SECONDS)
            return
        self._loading = None
        try:
            self._runtime = loading.result()
        except Exception as error:  # whatever it is, it concerns these requests alone
            for sequence in self._sequences:
                sequence.refused = f"the engine's graph cannot be loaded for its logits: {error}"

    def _begin(self, runtime: TurnsRuntime) -> None:
        for sequence in self._sequences:
            if sequence.running is None and not sequence.refused:
                sequence.begin(runtime.add)

    def _load(self) -> TurnsRuntime:
        return DenseRuntime(beside_settings(self._settings), at_once=_AT_ONCE)

    def _check_room(self) -> None:
        needed, room = needed_bytes(self._settings), self._room()
        if room and needed > room:
            raise RequestRefusedError(
                "there is no memory for logit_bias, top_logprobs or the scores of a prompt",
                why=f"they take the weights once more, {size_text(needed)} in all, and {size_text(room)} are free",
                remedy="leave them out, or start the server with a smaller --max-batch-size or --max-seq-len",
            )

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)
        self._loading = self._runtime = None


def beside_settings(settings: EngineSettings) -> EngineSettings:
    """States hold what is computed with, not what the cache is compressed to; sequences together are as long as one."""
    chosen = replace(
        settings.chosen, max_num_tokens=piece_tokens(settings), kv_precision=settings.chosen.activation_precision
    )
    kv = replace(settings.kv, blocks=-(-settings.capacity // settings.kv.block_tokens))
    return replace(settings, chosen=chosen, kv=kv)


def piece_tokens(settings: EngineSettings) -> int:
    """Of a prompt, at once."""
    wanted = _PIECE_BYTES // (4 * max(settings.vocabulary_size, 1))
    return min(max(wanted, _LEAST_PIECE), _LARGEST_PIECE, settings.chosen.max_num_tokens)


def needed_bytes(settings: EngineSettings) -> int:
    """The weights once more, a longest sequence's states, and buffers. The paged cache is taken as not filled yet."""
    weights = (Path(settings.engine_directory) / WEIGHTS).stat().st_size
    states = _STATES * settings.capacity * settings.kv.bytes_per_token
    pieces = _AT_ONCE * _BUFFERS * 4 * piece_tokens(settings) * settings.vocabulary_size
    return weights + states + pieces + settings.kv.bytes
