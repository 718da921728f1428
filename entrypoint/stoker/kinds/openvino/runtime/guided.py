"""Requests with a grammar, from their arrival until they run: they wait until it is compiled, and nobody else does."""

from __future__ import annotations

from typing import Protocol

from stoker.launch.generation import Generation, Guide, RequestRefusedError
from stoker.launch.stub.runtime import Output
from stoker.launch.stub.waiting import Begin, WaitingSequence


class Compiler(Protocol):
    """Grammars, as far as the queue needs them."""

    @property
    def busy(self) -> bool: ...

    @property
    def asked(self) -> bool: ...

    def ask(self, guide: Guide) -> None: ...

    def start(self) -> None: ...

    def outcome(self, guide: Guide) -> str | None: ...

    @property
    def full(self) -> bool: ...

    def close(self) -> None: ...


class GuidedSequence(WaitingSequence):
    """`fresh` while the engine may still look its grammar up: until its first token."""

    def __init__(self, generation: Generation) -> None:
        super().__init__(generation)
        self.fresh = True

    def note(self, output: Output) -> None:
        if output.ids or output.ended:
            self.fresh = False

    def cancel(self) -> None:
        super().cancel()
        self.fresh = False


class GuidedQueue:
    """Compiling and looking up take turns: while a grammar is compiled none is looked up, and the other way round."""

    def __init__(self, begin: Begin) -> None:
        self._grammars: Compiler | None = None
        self._begin = begin
        self._waiting: list[GuidedSequence] = []
        self._fresh: list[GuidedSequence] = []

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        """Whether the store of compiled grammars has had its time, and nobody is looking one up."""
        return self._grammars is not None and self._grammars.full and not self._grammars.busy and not self._fresh

    def use(self, grammars: Compiler) -> None:
        """From now on; what waits is asked for again."""
        self._grammars = grammars
        for sequence in self._waiting:
            assert sequence.generation.guide is not None
            grammars.ask(sequence.generation.guide)

    def close(self) -> None:
        if self._grammars is not None:
            self._grammars.close()

    def add(self, generation: Generation) -> GuidedSequence:
        """RequestRefusedError where there is nothing to compile with."""
        if self._grammars is None:
            raise RequestRefusedError("guided decoding needs the model's tokenizer", why="there is none in the engine")
        assert generation.guide is not None
        sequence = GuidedSequence(generation)
        self._grammars.ask(generation.guide)
        self._waiting.append(sequence)
        return sequence

    def move(self) -> None:
        """Between two steps of the engine."""
        self._fresh = [each for each in self._fresh if each.fresh]
        if self._grammars is None or self._fresh or self._grammars.busy:
            return
        self._begin_ready(self._grammars)
        if not self._fresh and self._grammars.asked:
            self._grammars.start()

    def _begin_ready(self, grammars: Compiler) -> None:
        for sequence in self._waiting:
            assert sequence.generation.guide is not None
            outcome = grammars.outcome(sequence.generation.guide)
            if outcome is not None and not sequence.refused:
                self._try(sequence, outcome)
        begun = [each for each in self._waiting if each.running is not None]
        self._waiting = [each for each in self._waiting if each.running is None and not each.refused]
        self._fresh += begun

    def _try(self, sequence: GuidedSequence, fault: str) -> None:
        if fault:
            sequence.refused = f"the engine does not take this grammar: {fault}"
        else:
            sequence.begin(self._begin)
