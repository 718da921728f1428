"""One request, understood: what is to be generated, and how the answer is to look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from stoker.launch.generation import Generation
from stoker.serve.answer.chunks import Identity, Shape
from stoker.serve.answer.log_probs import RenderLogProbs, RenderScores
from stoker.serve.generate.budget import Budget
from stoker.serve.generate.measurement import Measurement
from stoker.serve.generate.sequence import Piece, Sequence
from stoker.serve.http.limits import Call
from stoker.serve.operate.frontend import Frontend
from stoker.serve.request.decoding import Body

EVENT_STREAM = b"text/event-stream; charset=utf-8"


class Writer(Protocol):
    """One answer, either streamed (`render` for each piece of a choice, in order, then `ending`) or `whole`."""

    def render(self, index: int, piece: Piece) -> bytes: ...

    def ending(self) -> bytes: ...

    def whole(self, said: list[Piece]) -> bytes: ...


@dataclass(frozen=True)
class Job:
    """`generations[i]` becomes choice i of the answer; `writer` makes what writes it.

    With `best` (of how many for each prompt, how many), the likeliest are given. `scores` renders the log probabilities
    of a choice's prompt, where vLLM's field for them was asked for; `scored`: how many there are to render in all.
    `with_usage`: at the end of a stream; `usage_always`: with each of its pieces too. `block_tokens`: of a block of the
    KV cache. `prompts`: how many there are, each with as many choices. `media_type`: of a stream. `measurement`: of the
    request, once it is being answered.
    """

    shape: Shape
    identity: Identity
    generations: list[Generation]
    choices: list[Sequence]
    prompt_tokens: int
    stream: bool
    with_usage: bool
    usage_always: bool
    log_probs: RenderLogProbs | None
    writer: Callable[[Job], Writer]
    best: tuple[int, int] | None = None
    scores: RenderScores | None = None
    scored: int = 0
    budget: Budget | None = None
    block_tokens: int = 1
    prompts: int = 1
    media_type: bytes = EVENT_STREAM
    measurement: Measurement | None = None


# Of the request, its model, and what is known beside its body.
Prepare: TypeAlias = Callable[[Body, Frontend, Call], Awaitable[Job]]
