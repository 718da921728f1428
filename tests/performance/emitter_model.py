"""A runtime with no model: one token for each sequence in each step.

As fast as Triton takes them, or in steps of EMITTER_STEP_MS.

Measures what everything around an engine costs. Chosen with the runtime `emitter_model:open_emitter`
when this folder is on sys.path.
"""

from __future__ import annotations

import os
import time

from stoker.launch.generation import Generation
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Output

_IDS = 97  # ids 1 to 97 in turn


class EmittedSequence:
    def __init__(self, generation: Generation) -> None:
        self._left = generation.max_tokens
        self._ends = frozenset(generation.end_ids)

    def read(self) -> Output:
        self._left -= 1
        token = 1 + self._left % _IDS
        return Output((token,), (0.0,), ended=self._left <= 0 or token in self._ends)

    def cancel(self) -> None:
        self._left = 0


class EmitterRuntime:
    def __init__(self, step_seconds: float) -> None:
        self._step_seconds = step_seconds

    def add(self, generation: Generation) -> EmittedSequence:
        return EmittedSequence(generation)

    def step(self) -> None:
        if self._step_seconds:
            time.sleep(self._step_seconds)

    def close(self) -> None:
        pass


def open_emitter(settings: EngineSettings) -> EmitterRuntime:
    return EmitterRuntime(float(os.environ.get("EMITTER_STEP_MS") or 0) / 1000)
