"""Compiling grammars and looking them up take turns."""

from __future__ import annotations

from dataclasses import dataclass, field

from stoker.kinds.openvino.runtime.guided import GuidedQueue
from stoker.launch.generation import EBNF_GRAMMAR, Generation, Guide
from stoker.launch.stub.runtime import Output


@dataclass
class Compiler:
    """`finish` ends what is being compiled, with a fault or with none."""

    full: bool = False
    waiting: list[str] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    current: str | None = None

    @property
    def busy(self) -> bool:
        return self.current is not None

    @property
    def asked(self) -> bool:
        return bool(self.waiting)

    def ask(self, guide: Guide) -> None:
        if guide.text not in self.outcomes:
            self.waiting.append(guide.text)

    def start(self) -> None:
        self.current = self.waiting.pop(0)

    def finish(self, fault: str = "") -> None:
        assert self.current is not None
        self.outcomes[self.current] = fault
        self.current = None

    def outcome(self, guide: Guide) -> str | None:
        return self.outcomes.get(guide.text)

    def close(self) -> None: ...


class Running:
    def __init__(self) -> None:
        self.output = Output((), ())
        self.cancelled = False

    def read(self) -> Output:
        return self.output

    def cancel(self) -> None:
        self.cancelled = True


def _made() -> tuple[GuidedQueue, Compiler, dict[str, Running]]:
    begun: dict[str, Running] = {}
    queue, compiler = GuidedQueue(lambda asked: begun.setdefault(asked.request_id, Running())), Compiler()
    queue.use(compiler)
    return queue, compiler, begun


def _asked(name: str, grammar: str) -> Generation:
    return Generation(name, (1,), 5, guide=Guide(EBNF_GRAMMAR, grammar))


def test_nothing_is_looked_up_while_something_is_compiled():
    queue, compiler, begun = _made()
    first, second = queue.add(_asked("first", "A")), queue.add(_asked("second", "B"))
    queue.move()
    assert (compiler.current, begun) == ("A", {})
    compiler.finish()
    queue.move()
    assert list(begun) == ["first"]
    assert compiler.current is None  # the engine may be looking A up until the first token
    queue.move()
    assert compiler.current is None
    begun["first"].output = Output((7,), ())
    assert first.read().ids == (7,)
    queue.move()
    assert compiler.current == "B"
    compiler.finish("no such rule")
    queue.move()
    assert "no such rule" in second.read().refused
    assert not queue.waiting


def test_one_that_is_cancelled_is_forgotten():
    queue, compiler, begun = _made()
    sequence = queue.add(_asked("first", "A"))
    queue.move()
    sequence.cancel()
    compiler.finish()
    queue.move()
    assert (begun, queue.waiting) == ({}, False)


def test_a_new_store_is_asked_again_for_what_waits():
    queue, compiler, begun = _made()
    compiler.full = True
    queue.add(_asked("first", "A"))
    assert queue.full
    fresh = Compiler()
    queue.use(fresh)
    queue.move()
    fresh.finish()
    queue.move()
    assert list(begun) == ["first"]
