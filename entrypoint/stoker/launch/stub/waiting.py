"""A sequence that a runtime begins later: after others, or when something that it needs is there."""

from __future__ import annotations

from collections.abc import Callable

from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.stub.runtime import Output, RunningSequence

Begin = Callable[[Generation], RunningSequence]


class WaitingSequence:
    """`running` is None until it has begun. `refused`: why it does not go on, if it does not."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self.running: RunningSequence | None = None
        self.refused = ""

    def begin(self, begin: Begin) -> None:
        """`refused` where `begin` refuses it."""
        try:
            self.running = begin(self.generation)
        except RequestRefusedError as error:
            self.refused = str(error)

    def read(self) -> Output:
        if self.refused:
            return Output((), (), ended=True, refused=self.refused)
        if self.running is None:
            return Output((), ())
        output = self.running.read()
        self.note(output)
        return output

    def note(self, output: Output) -> None:
        """For those who keep account of what the running sequence gives."""

    def cancel(self) -> None:
        if self.running is not None:
            self.running.cancel()
        self.refused = "it was cancelled"
