"""The usual runtime, but that a prompt beginning with a certain id breaks it for everybody, as a bad grammar would."""

from __future__ import annotations

from stoker.kinds.openvino.runtime.paged import PagedRuntime, PagedSequence

POISON = 251


class FaultyRuntime(PagedRuntime):
    poisoned = False

    def add(self, generation) -> PagedSequence:
        self.poisoned = self.poisoned or generation.input_ids[0] == POISON
        return super().add(generation)

    def step(self) -> None:
        if self.poisoned:
            raise RuntimeError("the pipeline is broken")
        super().step()
