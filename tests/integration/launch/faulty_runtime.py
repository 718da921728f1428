"""The usual runtime, but a prompt that begins with one id breaks it for everybody, as a bad grammar would, and one that
begins with another keeps it from stepping until then."""

from __future__ import annotations

import time

from stoker.kinds.openvino.runtime.paged import PagedRuntime
from stoker.launch.generation import Generation
from stoker.launch.stub.runtime import RunningSequence

WAITING, POISON = 250, 251


class FaultyRuntime(PagedRuntime):
    waiting = poisoned = False

    def add(self, generation: Generation) -> RunningSequence:
        self.waiting = self.waiting or generation.input_ids[0] == WAITING
        self.poisoned = self.poisoned or generation.input_ids[0] == POISON
        return super().add(generation)

    def step(self) -> bool:
        if self.poisoned:
            raise RuntimeError("the pipeline is broken")
        if self.waiting:
            time.sleep(0.01)
            return False
        return super().step()
