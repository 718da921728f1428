"""The usual runtime, but that a prompt beginning with a certain id breaks it for everybody, as a bad grammar would."""

from __future__ import annotations

from stoker.kinds.openvino.runtime.paged import PagedRuntime
from stoker.launch.generation import Generation
from stoker.launch.stub.runtime import RunningSequence

POISON = 251


class FaultyRuntime(PagedRuntime):
    poisoned = False

    def add(self, generation: Generation) -> RunningSequence:
        self.poisoned = self.poisoned or generation.input_ids[0] == POISON
        return super().add(generation)

    def step(self) -> bool:
        if self.poisoned:
            raise RuntimeError("the pipeline is broken")
        return super().step()
