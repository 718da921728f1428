"""Compiling grammars beside the engine.

OpenVINO GenAI compiles a request's grammar in the step that gives its first token: everybody waits meanwhile, up to
seconds with a large vocabulary, and a grammar that cannot be compiled fails the step for all. But all pipelines of one
tokenizer share what is compiled, and `generate` of one lets go of the interpreter's lock. So each grammar is compiled
through a second pipeline, over a model of no size, in a thread of its own; the engine then only looks it up.
"""

from __future__ import annotations

import tempfile
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino_genai

from stoker.launch.generation import EBNF_GRAMMAR, Guide, RequestRefusedError
from stoker.launch.openvino.stand_in import write_stand_in

MAX_COMPILED = 1000  # about a megabyte each with a large vocabulary; the store cannot be emptied but with the engine
_END = 0


class Grammars:
    """All of it belongs to the engine's thread but for the compiling itself.

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
        self._asked: deque[str] = deque()
        self._outcomes: dict[str, str] = {}
        self._current: tuple[str, Future[str]] | None = None

    @property
    def full(self) -> bool:
        return len(self._outcomes) >= MAX_COMPILED

    @property
    def busy(self) -> bool:
        """Whether one is being compiled."""
        if self._current is not None and self._current[1].done():
            grammar, outcome = self._current
            self._outcomes[grammar] = outcome.result()
            self._current = None
        return self._current is not None

    @property
    def asked(self) -> bool:
        """Whether some wait to be compiled."""
        return bool(self._asked)

    def ask(self, guide: Guide) -> None:
        """To have it compiled, unless it is."""
        if guide.text not in self._outcomes and guide.text not in self._asked:
            self._asked.append(guide.text)

    def start(self) -> None:
        """Begins with the next one."""
        grammar = self._asked.popleft()
        self._current = grammar, self._thread.submit(self._compile, grammar)

    def outcome(self, guide: Guide) -> str | None:
        """Empty when it is compiled, else why it cannot be; None while that is not known."""
        return self._outcomes.get(guide.text)

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)
        self._pipeline = None

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
        raise RequestRefusedError(f"guides of type {guide.kind!r} are not taken", why=f"only {EBNF_GRAMMAR!r} are")
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
