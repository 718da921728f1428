"""One choice of an answer while it is being generated: ids in, visible text out, and why it ended."""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass

import msgspec

from stoker.launch.generation import Delta, Generation, Scores, Top
from stoker.serve.answer.events import CallStart, Event, Parser, Text
from stoker.serve.answer.parsers.reasoning import ThinkingTokens
from stoker.serve.generate.detokenizing import Detokenizer
from stoker.serve.generate.stops import StopMatcher


@dataclass(frozen=True, slots=True)
class TokenLogProb:
    """`value` is None of a prompt's first token, which nothing precedes. `offset` is where the token begins in the
    choice's text, in characters. `top`: the most probable tokens in its place, where they were asked for."""

    token_id: int
    value: float | None
    offset: int
    top: Top = ()


@dataclass(frozen=True)
class Echo:
    """What a completion's text begins with: the prompt's. Where its log probabilities are told, `ids` are the prompt's
    and `offsets` where each begins in the text; `top` of the likeliest tokens are told beside each."""

    text: str
    ids: Many[int] = ()
    offsets: Many[int] = ()
    top: int = 0

    @property
    def scored(self) -> bool:
        """Whether the engine has something to tell of it."""
        return len(self.ids) > 1

    def entries(self, scores: Scores | None) -> list[TokenLogProb]:
        found = [TokenLogProb(self.ids[0], None, self.offsets[0])] if self.ids else []
        later = zip(self.ids[1:], self.offsets[1:], range(0 if scores is None else len(scores)), strict=False)
        for id_, offset, place in later:
            assert scores is not None
            found.append(TokenLogProb(id_, scores.own(place), offset, scores.top(place, self.top)))
        return found


class Piece(msgspec.Struct, frozen=True, gc=False):
    """What one step of the engine makes visible of a choice, and all that is to be told with it: the choice itself may
    be further on when the piece is written. The last piece, and no other, has the `finish_reason`. `tokens` counts
    those of the choice up to here."""

    text: str
    finish_reason: str | None = None
    log_probs: Many[TokenLogProb] = ()
    tokens: int = 0

    @staticmethod
    def joined(pieces: Many[Piece]) -> Piece:
        """All of a choice's as one."""
        log_probs = [entry for piece in pieces for entry in piece.log_probs]
        last = pieces[-1]
        return Piece("".join(piece.text for piece in pieces), last.finish_reason, log_probs, last.tokens)


class Sequence:
    """`finish_reason` is None while more may come. The end token counts as a token, but is no text.

    `log_prob` is the sum over its tokens, where they are told; so is `reused_blocks`, of its prompt in the KV cache.
    With a parser, the text is made into events by `events`; `called` once there is a call among them.
    `finish_reason` and the counts are those of the ids so far, which pieces that are still to be written lag behind.
    `scores` are its prompt's, once they have come. With `tell_end`, the end token's log probability is told too.
    """

    __slots__ = (
        "_decoded",
        "_detokenizer",
        "_echo",
        "_end_ids",
        "_matcher",
        "_min_tokens",
        "_one_by_one",
        "_parser",
        "_pending",
        "_tell_end",
        "_thinking",
        "_visible",
        "called",
        "called_reason",
        "finish_reason",
        "log_prob",
        "reused_blocks",
        "scores",
        "tokens",
    )

    def __init__(
        self,
        generation: Generation,
        detokenizer: Detokenizer,
        stops: Many[str] = (),
        parser: Parser | None = None,
        thinking: ThinkingTokens | None = None,
        *,
        keep_stop: bool = False,
        echo: Echo | None = None,
        tell_end: bool = False,
    ) -> None:
        self.scores: Scores | None = None
        self._echo = echo
        self._tell_end = tell_end
        self.called = False
        self.called_reason = "tool_calls"
        self._parser = parser
        self._thinking = thinking
        self.finish_reason: str | None = None
        self.tokens = 0
        self.log_prob = 0.0
        self.reused_blocks: int | None = None
        self._detokenizer = detokenizer
        self._matcher = StopMatcher(stops, keep=keep_stop) if stops else None
        self._end_ids = frozenset(generation.end_ids)
        self._min_tokens = generation.min_tokens
        self._one_by_one = generation.log_probs or bool(stops and generation.min_tokens)
        self._pending: list[TokenLogProb] = []
        self._decoded = 0
        self._visible = 0

    def feed(self, delta: Delta) -> Piece:
        """What these ids make visible."""
        if delta.prompt is not None:
            self.scores = delta.prompt
        echoed = self._begin() if self._echo is not None and (self.scores or not self._echo.scored) else ""
        return self._piece(echoed + self._advance(delta))

    def end(self) -> Piece:
        """The rest, when no more ids come."""
        return self._piece(self._begin() + self._finish("length"))

    def _begin(self) -> str:
        """The echo, which no stop string ends."""
        echo, self._echo = self._echo, None
        if echo is None:
            return ""
        self._pending += echo.entries(self.scores)
        self._decoded += len(echo.text)
        self._visible += len(echo.text)
        return echo.text

    def _piece(self, text: str) -> Piece:
        return Piece(text, self.finish_reason, self._take_log_probs() if self._pending else (), self.tokens)

    def _advance(self, delta: Delta) -> str:
        ids = delta.ids
        ended = bool(ids) and ids[-1] in self._end_ids
        texts = ids[:-1] if ended else ids
        if self._one_by_one:
            text = self._feed_each(texts, delta)
        else:
            self.tokens += len(texts)
            text = self._see(self._detokenizer.feed(texts))
        if self._thinking is not None and not self._thinking.over:
            self._thinking.feed(texts, text)
        if ended and self.finish_reason is None:
            self.tokens += 1
            text += self._finish("stop")
            if self._tell_end and delta.log_probs is not None:
                self._note(ids[-1], delta, len(ids) - 1)
        return text

    def _note(self, token_id: int, delta: Delta, index: int) -> float:
        assert delta.log_probs is not None
        value, top = delta.log_probs[index], delta.top[index] if delta.top else ()
        self._pending.append(TokenLogProb(token_id, value, self._decoded, top))
        return value

    def reason(self, piece: Piece) -> str | None:
        """The finish reason that the API gives with a piece whose events are known."""
        return self.called_reason if self.called and piece.finish_reason == "stop" else piece.finish_reason

    @property
    def reasoning_tokens(self) -> int | None:
        """How many of its tokens were reasoning; None for a model that does not reason."""
        return None if self._thinking is None else self._thinking.count

    @property
    def stop(self) -> str | None:
        """The stop string that ended it."""
        return self._matcher.found if self._matcher else None

    @property
    def parsed(self) -> bool:
        """Whether the text is more than text."""
        return self._parser is not None

    def events(self, piece: Piece) -> list[Event]:
        """What the next piece consists of, and with the last one what was held back. Once per piece, in order."""
        if self._parser is None:
            return [Text(piece.text)] if piece.text else []
        events = self._parser.feed(piece.text)
        if piece.finish_reason is not None:
            events += self._parser.end()
        self.called = self.called or any(isinstance(event, CallStart) for event in events)
        return events

    def _feed_each(self, ids: Many[int], delta: Delta) -> str:
        pieces = []
        for index, token_id in enumerate(ids):
            self.tokens += 1
            if delta.log_probs is not None:
                self.log_prob += self._note(token_id, delta, index)
            pieces.append(self._see(self._detokenizer.feed((token_id,))))
            if self.finish_reason is not None:
                break
        return "".join(pieces)

    def _see(self, text: str) -> str:
        """What of the text may be shown; within `min_tokens` nothing stops it."""
        self._decoded += len(text)
        if self._matcher is not None and self.tokens > self._min_tokens:
            text, found = self._matcher.feed(text)
            if found:
                self.finish_reason = "stop"
        self._visible += len(text)
        return text

    def _finish(self, reason: str) -> str:
        text = self._see(self._detokenizer.flush())
        if self.finish_reason is None:
            self.finish_reason = reason
            held = self._matcher.flush() if self._matcher else ""
            self._visible += len(held)
            text += held
            self._visible = max(self._visible, self._decoded) + 1  # tokens without text count too
        return text

    def _take_log_probs(self) -> list[TokenLogProb]:
        """Of the tokens that have begun to show; those of a stop string never do."""
        ready = [entry for entry in self._pending if entry.offset < self._visible]
        del self._pending[: len(ready)]
        return ready
