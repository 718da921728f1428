"""The usual runtime: OpenVINO GenAI's continuous batching with paged attention and prefix caching."""

from __future__ import annotations

import itertools
import random
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino_genai

from stoker.kinds.openvino.runtime.adapters import Adapters
from stoker.kinds.openvino.runtime.beside import Beside, needs_logits
from stoker.kinds.openvino.runtime.grammars import Grammars, reason, structure
from stoker.kinds.openvino.runtime.guessing import check_goes_with, goes_beside, guessing, let_guess
from stoker.kinds.openvino.runtime.guided import GuidedQueue
from stoker.kinds.openvino.runtime.late_threads import threads_ended
from stoker.kinds.openvino.runtime.partial_blocks import StaggeredStart
from stoker.kinds.openvino.runtime.pieces import Pieces
from stoker.kinds.openvino.runtime.properties import compile_properties
from stoker.kinds.openvino.runtime.reserved import Reserved
from stoker.kinds.openvino.runtime.vocabulary import FILE as TOKENIZER_FILE
from stoker.kinds.openvino.runtime.vocabulary import genai_tokenizer
from stoker.kinds.openvino.speculation import most_tokens, spare_blocks
from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Output, RunningSequence
from stoker.launch.stub.waiting import Begin
from stoker.plan.speculation import EAGLE3, LOOKUP, OFF, WITH_MODEL
from stoker.resolve.facts import with_defaults
from stoker.resolve.json_files import read_json

_RUNNING = openvino_genai.GenerationStatus.RUNNING
_IGNORED = openvino_genai.GenerationStatus.IGNORED
_COMPILING_POLL_SECONDS = 0.002
_UNSEEDED_BITS = 32  # the sampler's Mersenne twister takes 32 bits


class PagedSequence:
    """`top`: whether the chosen token, which is the likeliest, is to be told as that too."""

    def __init__(self, handle: Any, *, top: bool = False) -> None:
        self._handle = handle
        self._top = top
        self.over = False

    def read(self) -> Output:
        """Never blocks: `read()` of the handle waits on an empty queue with the interpreter's lock held."""
        handle = self._handle
        ids: list[int] = []
        log_probs: list[float] = []
        while handle.can_read():
            for output in handle.read().values():
                ids += output.generated_ids
                log_probs += output.generated_log_probs
        status = handle.get_status()
        top = [[pair] for pair in zip(ids, log_probs, strict=True)] if self._top else ()
        self.over = status != _RUNNING
        return Output(ids, log_probs, ended=self.over, out_of_memory=status == _IGNORED, top=top)

    def cancel(self) -> None:
        self._handle.cancel()
        self.over = True


class PagedRuntime:
    def __init__(self, settings: EngineSettings) -> None:
        self._numbers = itertools.count()
        self._settings = settings
        self._capacity = settings.capacity
        self._method = settings.chosen.speculative
        self._running: list[PagedSequence] = []
        kv, one_by_one = settings.kv, self._method in WITH_MODEL  # of several prompts in a step others may be cut
        self._reserved = Reserved(self._begin, kv.blocks + spare_blocks(settings.chosen), kv.block_tokens)
        self._pieces = Pieces(self._begin, kv.block_tokens, kv.blocks, most_tokens(settings.chosen))
        begin: Begin = self._pieces.add if self._method == OFF else self._reserved.add
        self._staggered = StaggeredStart(begin, kv.block_tokens, kv.blocks, always=one_by_one)
        self._start: Begin = begin if self._method == LOOKUP else self._staggered.add
        self._guided = GuidedQueue(self._start)
        self._adapters = Adapters(settings, self._admit)
        self._beside = Beside(settings)
        self._open()

    def _open(self) -> None:
        """With guided decoding if the engine's directory has a tokenizer."""
        directory = Path(self._settings.engine_directory)
        scheduler = _scheduler(self._settings)
        properties = {**_properties(self._settings), **self._adapters.properties()}
        open_pipeline = openvino_genai.ContinuousBatchingPipeline
        with guessing(self._settings, scheduler) as guess:
            if not (directory / TOKENIZER_FILE).is_file():
                self._pipeline: Any = open_pipeline(str(directory), scheduler, "CPU", {**properties, **guess})
                return
            logits = self._settings.vocabulary_size or _logits(directory)
            tokenizer = genai_tokenizer(directory, logits, compared=self._method in WITH_MODEL)
            self._guided.use(Grammars(tokenizer, logits))
            self._pipeline = open_pipeline(str(directory), tokenizer, scheduler, "CPU", **properties, **guess)

    def add(self, generation: Generation) -> RunningSequence:
        if len(generation.input_ids) >= self._capacity:
            raise RequestRefusedError(
                f"the prompt of {len(generation.input_ids)} tokens is too long",
                why=f"prompt and answer together may have {self._capacity}",
            )
        if needs_logits(generation) or goes_beside(self._method, generation):
            return self._beside.add(generation)
        check_goes_with(self._method, generation)
        if generation.guide is not None:
            structure(generation.guide)
        return self._adapters.add(generation)

    def _admit(self, generation: Generation) -> RunningSequence:
        return self._start(generation) if generation.guide is None else self._guided.add(generation)

    def _begin(self, generation: Generation) -> PagedSequence:
        ids = openvino.Tensor(np.asarray(generation.input_ids, np.int64)[None])
        self._running = [each for each in self._running if not each.over]
        config = sampling_of(generation)
        if self._method != OFF:
            let_guess(config, self._method, len(self._running) + 1)
        try:
            handle = self._pipeline.add_request(next(self._numbers), ids, config)
        except (RuntimeError, TypeError, ValueError) as error:
            raise RequestRefusedError("the engine refused the request", why=reason(error)) from error
        sequence = PagedSequence(handle, top=generation.top_log_probs > 0)
        self._running.append(sequence)
        return sequence

    def step(self) -> bool:
        self._guided.move()
        self._reserved.move()
        self._staggered.move()
        self._pieces.move()
        others, busy = self._pipeline.has_non_finished_requests(), self._beside.busy
        self._beside.step(others=others)
        if self._adapters.waiting and not others and self._adapt():
            return True
        if self._guided.waiting and not others and not busy:
            if self._guided.full:
                self._shut()
                self._open()
            time.sleep(_COMPILING_POLL_SECONDS)
            return False
        if others or not busy:
            began = time.monotonic()
            with threads_ended() if self._method == EAGLE3 else nullcontext():
                self._pipeline.step()
            self._pieces.stepped(time.monotonic() - began)
        return True

    def _adapt(self) -> bool:
        """Opens the graph with the adapters that wait; whether anything that has waited began."""
        if self._adapters.choose():
            self._shut()
            self._open()
        return self._adapters.release()

    def _shut(self) -> None:
        self._guided.close()
        self._pieces.forget()
        self._pipeline = None

    def close(self) -> None:
        """Frees weights and cache, so that the next runtime finds room for its own."""
        self._shut()
        self._beside.close()
        self._adapters.close()


def _logits(directory: Path) -> int:
    """How many ids the model gives probabilities for, where the settings do not say."""
    size = with_defaults(read_json(directory / "config.json")).get("vocab_size")
    return size if isinstance(size, int) else 0


def _scheduler(settings: EngineSettings) -> Any:
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.num_kv_blocks = settings.kv.blocks + spare_blocks(settings.chosen)
    scheduler.max_num_seqs = settings.chosen.max_batch_size
    scheduler.max_num_batched_tokens = most_tokens(settings.chosen)
    scheduler.dynamic_split_fuse = True
    # Blocks stay known by the hash of guesses that turned out wrong.
    scheduler.enable_prefix_caching = settings.chosen.speculative == OFF
    return scheduler


def _properties(settings: EngineSettings) -> dict[str, object]:
    return {**compile_properties(settings), "sampler_num_threads": settings.chosen.threads}


def sampling_of(generation: Generation) -> Any:
    """GenAI's GenerationConfig. An unset seed is drawn here: the engine's own default is the same for every request."""
    config = openvino_genai.GenerationConfig()
    config.apply_chat_template = False
    config.max_new_tokens = generation.max_tokens
    config.logprobs = int(generation.log_probs)
    _set_ends(config, generation)
    _set_penalties(config, generation)
    if generation.temperature > 0:
        _set_random(config, generation)
    if generation.guide is not None:
        config.structured_output_config = structure(generation.guide)
    return config


def _set_ends(config: Any, generation: Generation) -> None:
    """With no end given, `ignore_eos` makes the engine pass over the one id that it insists on being told."""
    ends = generation.end_ids or (0,)
    config.ignore_eos = not generation.end_ids
    config.eos_token_id = ends[0]
    config.stop_token_ids = set(ends)
    if generation.end_ids:
        config.min_new_tokens = generation.min_tokens


def _set_penalties(config: Any, generation: Generation) -> None:
    for name in ("presence_penalty", "frequency_penalty", "repetition_penalty"):
        value = getattr(generation, name)
        if value is not None:
            setattr(config, name, value)


def _set_random(config: Any, generation: Generation) -> None:
    config.do_sample = True
    config.temperature = generation.temperature
    config.rng_seed = random.getrandbits(_UNSEEDED_BITS) if generation.seed is None else generation.seed
    for name in ("top_p", "top_k", "min_p"):
        value = getattr(generation, name)
        if value is not None:
            setattr(config, name, value)
