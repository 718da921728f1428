"""Compiling grammars beside the engine.

OpenVINO GenAI compiles a request's grammar in the step that gives its first token: everybody waits meanwhile, up to
seconds with a large vocabulary, and a grammar that cannot be compiled fails the step for all. But all pipelines of one
tokenizer share what is compiled, and `generate` of one lets go of the interpreter's lock. So each grammar is compiled
through a second pipeline, over a model of no size, in a thread of its own; the engine then only looks it up.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino_genai

from stoker.kinds.openvino.runtime.stand_in import write_stand_in
from stoker.launch.generation import EBNF_GRAMMAR, Guide, RequestRefusedError

MAX_COMPILED = 1000  # about a megabyte each with a large vocabulary; the store cannot be emptied but with the engine
TURN_SECONDS = 0.05  # for as long the next ones follow at once: what is ready together begins in one step of the engine
_END = 0


class Grammars:
    """Everything but the compiling itself belongs to the engine's thread.

    The store is locked while one is compiled, so that the engine must not look one up then: `start` is for moments when
    it is not about to.
    """

    def __init__(self, tokenizer: Any, logits: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            directory = write_stand_in(Path(folder), logits)
            self._pipeline = openvino_genai.ContinuousBatchingPipeline(
                str(directory), tokenizer, _scheduler(), "CPU", INFERENCE_NUM_THREADS=1
            )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="grammars")
        self._asked: dict[str, None] = {}
        self._outcomes: dict[str, str] = {}
        self._turn: Future[dict[str, str]] | None = None

    @property
    def full(self) -> bool:
        return len(self._outcomes) >= MAX_COMPILED

    @property
    def busy(self) -> bool:
        """Whether some are being compiled."""
        if self._turn is not None and self._turn.done():
            self._outcomes |= self._turn.result()
            self._asked = {each: None for each in self._asked if each not in self._outcomes}
            self._turn = None
        return self._turn is not None

    @property
    def asked(self) -> bool:
        """Whether some wait to be compiled."""
        return bool(self._asked)

    def ask(self, guide: Guide) -> None:
        """To have it compiled, unless it is."""
        if guide.text not in self._outcomes:
            self._asked[guide.text] = None

    def start(self) -> None:
        """Begins with the next ones."""
        self._turn = self._thread.submit(self._compile_some, tuple(self._asked))

    def outcome(self, guide: Guide) -> str | None:
        """Empty when it is compiled, else why it cannot be; None while that is not known."""
        return self._outcomes.get(guide.text)

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)
        self._pipeline = None

    def _compile_some(self, grammars: Sequence[str]) -> dict[str, str]:
        outcomes: dict[str, str] = {}
        until = time.monotonic() + TURN_SECONDS
        for grammar in grammars:
            if outcomes and time.monotonic() > until:
                break
            outcomes[grammar] = self._compile(grammar)
        return outcomes

    def _compile(self, grammar: str) -> str:
        config = openvino_genai.GenerationConfig()
        config.apply_chat_template = False
        config.max_new_tokens = 1
        config.eos_token_id = _END
        config.stop_token_ids = {_END}
        config.structured_output_config = structure(Guide(EBNF_GRAMMAR, grammar))
        try:
            self._pipeline.generate([openvino.Tensor(np.zeros((1, 1), np.int64))], [config])
        except Exception as error:  # whatever it is, it is this grammar's fault
            return reason(error)
        return ""


def structure(guide: Guide) -> Any:
    """RequestRefusedError for a type that is not taken."""
    if guide.kind != EBNF_GRAMMAR:
        raise RequestRefusedError(f"guides of type {guide.kind!r} are not supported", why=f"only {EBNF_GRAMMAR!r} are")
    return openvino_genai.StructuredOutputConfig(grammar=guide.text)


def reason(error: Exception) -> str:
    """The last line that says something: OpenVINO puts file names and checks first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _scheduler() -> Any:
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.num_kv_blocks = 4
    scheduler.max_num_seqs = 1
    scheduler.max_num_batched_tokens = 32
    return scheduler
