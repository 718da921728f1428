"""Server-sent events of a streamed answer. All but the text is rendered once per request; a token costs only bytes."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from stoker.serve.answer.deltas import delta
from stoker.serve.answer.log_probs import RenderLogProbs
from stoker.serve.generate.sequence import Piece, Sequence

DONE = b"data: [DONE]\n\n"
END = b"}\n\n"
NO_USAGE = b',"usage":null' + END

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Identity:
    """What every part of one answer carries. `created` in seconds since 1970."""

    id: str
    created: int
    model: str
    fingerprint: str


@dataclass(frozen=True)
class Shape:
    """How a choice's piece of text is wrapped."""

    object: str
    chunk_object: str
    before_text: bytes
    after_text: bytes
    opening: bytes
    nothing: bytes


CHAT = Shape(
    object="chat.completion",
    chunk_object="chat.completion.chunk",
    before_text=b'"delta":{"content":',
    after_text=b"}",
    opening=b'"delta":{"role":"assistant","content":""}',
    nothing=b'"delta":{}',
)
COMPLETION = Shape(
    object="text_completion",
    chunk_object="text_completion",
    before_text=b'"text":',
    after_text=b"",
    opening=b"",
    nothing=b'"text":""',
)


class Chunks:
    """`log_probs` renders a piece's log probabilities; None when they were not asked for."""

    def __init__(
        self,
        shape: Shape,
        identity: Identity,
        choices: list[Sequence],
        *,
        with_usage: bool,
        log_probs: RenderLogProbs | None = None,
    ) -> None:
        self._shape = shape
        self._choices = choices
        self._log_probs = log_probs
        self._head = _head(shape, identity)
        self._tail = b"}]" + (NO_USAGE if with_usage else END)
        self._heads = [self._head + b'"choices":[{"index":%d,' % index for index in range(len(choices))]
        self._before = [head + shape.before_text for head in self._heads]
        self._after = shape.after_text + b',"logprobs":null,"finish_reason":null' + self._tail
        self._opened = [not shape.opening] * len(choices)

    def render(self, index: int, piece: Piece) -> bytes:
        """The events for one piece of a choice: its role before the first, its finish reason after the last."""
        opening = b"" if self._opened[index] else self._open(index)
        if self._choices[index].parsed:
            return opening + self._render_events(index, piece)
        text, reason = piece.text, piece.finish_reason
        closing = b"" if reason is None else self._event(index, self._shape.nothing, reason=reason)
        if self._log_probs is not None:
            return opening + self._render_log_probs(index, piece) + closing
        if text:
            return opening + self._before[index] + _encode(text) + self._after + closing
        return opening + closing

    def usage(self, usage: dict[str, object]) -> bytes:
        return self._head + b'"choices":[],"usage":' + _encode(usage) + b"}\n\n"

    def _open(self, index: int) -> bytes:
        self._opened[index] = True
        return self._event(index, self._shape.opening)

    def _render_events(self, index: int, piece: Piece) -> bytes:
        """The log probabilities that are due go with the first event."""
        choice = self._choices[index]
        deltas = [delta(event) for event in choice.events(piece)]
        log_probs = self._log_probs(piece.log_probs) if self._log_probs is not None else None
        if log_probs is not None and not deltas:
            deltas = [self._shape.nothing]
        rendered = [self._event(index, each) for each in deltas[1:]]
        if deltas:
            rendered.insert(0, self._event(index, deltas[0], _encode(log_probs)))
        reason = choice.reason(piece)
        if reason is not None:
            rendered.append(self._event(index, self._shape.nothing, reason=reason))
        return b"".join(rendered)

    def _render_log_probs(self, index: int, piece: Piece) -> bytes:
        assert self._log_probs is not None
        log_probs = self._log_probs(piece.log_probs)
        if not piece.text and log_probs is None:
            return b""
        text = self._shape.before_text + _encode(piece.text) + self._shape.after_text
        return self._event(index, text, _encode(log_probs))

    def _event(self, index: int, piece: bytes, log_probs: bytes = b"null", reason: str | None = None) -> bytes:
        ending = b',"logprobs":' + log_probs + b',"finish_reason":' + _encode(reason)
        return self._heads[index] + piece + ending + self._tail


def _head(shape: Shape, identity: Identity) -> bytes:
    fields = {
        "id": identity.id,
        "object": shape.chunk_object,
        "created": identity.created,
        "model": identity.model,
        "system_fingerprint": identity.fingerprint,
    }
    return b"data: " + _encode(fields)[:-1] + b","
