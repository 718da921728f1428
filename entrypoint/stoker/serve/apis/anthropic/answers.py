"""A chat answer in the form of /v1/messages, whole and as server-sent events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from stoker.serve.answer.answers import cached_tokens
from stoker.serve.answer.events import CallArguments, CallStart, Event, Reasoning, Text, arguments_object, joined
from stoker.serve.generate.sequence import Piece
from stoker.serve.request.job import Job

_encode = msgspec.json.Encoder().encode


class MessagesWriter:
    """The answer consists of blocks, one after the other: each is opened, filled and closed."""

    def __init__(self, job: Job, max_tokens: int) -> None:
        self._job = job
        self._max_tokens = max_tokens
        self._choice = job.choices[0]
        self._begun = False
        self._blocks = 0
        self._open: type | None = None

    def whole(self, said: list[Piece]) -> bytes:
        content = _blocks(self._choice.events(said[0]))
        reason = {"stop_reason": self._stop_reason(), "stop_sequence": self._choice.stop}
        return _encode(self._message(content) | reason)

    def render(self, _: int, piece: Piece) -> bytes:
        parts = [] if self._begun else [self._start()]
        for event in self._choice.events(piece):
            parts += self._piece(event)
        return b"".join(parts)

    def ending(self) -> bytes:
        closed = self._close()
        delta = {"stop_reason": self._stop_reason(), "stop_sequence": self._choice.stop}
        told = {"type": "message_delta", "delta": delta, "usage": {**self._read(), **self._written()}}
        return b"".join([*closed, _sse(told), _sse({"type": "message_stop"})])

    def _start(self) -> bytes:
        self._begun = True
        message = self._message([]) | {"stop_reason": None, "stop_sequence": None}
        message["usage"] |= {"output_tokens": 0, "output_tokens_details": None}
        return _sse({"type": "message_start", "message": message})

    def _piece(self, event: Event) -> list[bytes]:
        """Text goes on in its block; a call is always one of its own."""
        kind = CallStart if isinstance(event, CallArguments) else type(event)
        parts = []
        if isinstance(event, CallStart) or self._open is not kind:
            parts = self._close()
            self._open = kind
            parts.append(_sse({"type": "content_block_start", "index": self._blocks, "content_block": _opened(event)}))
        if not isinstance(event, CallStart):
            parts.append(_sse({"type": "content_block_delta", "index": self._blocks, "delta": _delta(event)}))
        return parts

    def _close(self) -> list[bytes]:
        if self._open is None:
            return []
        parts = [_sse({"type": "content_block_stop", "index": self._blocks})]
        self._open = None
        self._blocks += 1
        return parts

    def _stop_reason(self) -> str:
        if self._choice.called:
            return "tool_use"
        if self._choice.stop is not None:
            return "stop_sequence"
        if self._choice.finish_reason != "length":
            return "end_turn"
        capped = self._job.generations[0].max_tokens < self._max_tokens
        return "model_context_window_exceeded" if capped else "max_tokens"

    def _read(self) -> dict[str, object]:
        """Here, what was read from the cache is not among the input."""
        cached = cached_tokens(self._job)
        return {"input_tokens": self._job.prompt_tokens - (cached or 0), "cache_read_input_tokens": cached}

    def _written(self) -> dict[str, object]:
        thought = self._choice.reasoning_tokens
        details = None if thought is None else {"thinking_tokens": thought}
        return {"output_tokens": self._choice.tokens, "output_tokens_details": details}

    def _message(self, content: list[dict[str, object]]) -> dict[str, Any]:
        usage = {**self._read(), **self._written()}
        return {
            "id": self._job.identity.id,
            "type": "message",
            "role": "assistant",
            "model": self._job.identity.model,
            "content": content,
            "usage": {**usage, "cache_creation_input_tokens": None},
        }


def _blocks(events: list[Event]) -> list[dict[str, object]]:
    blocks: list[dict[str, object]] = []
    for event in joined(events):
        if isinstance(event, CallArguments):
            blocks[-1]["input"] = arguments_object(event.text)
        else:
            blocks.append(_opened(event) | (_filled(event) if not isinstance(event, CallStart) else {}))
    return blocks


def _opened(event: Event) -> dict[str, object]:
    if isinstance(event, Text):
        return {"type": "text", "text": ""}
    if isinstance(event, Reasoning):
        return {"type": "thinking", "thinking": "", "signature": ""}
    assert isinstance(event, CallStart)
    return {"type": "tool_use", "id": event.id, "name": event.name, "input": {}}


def _filled(event: Text | Reasoning) -> dict[str, object]:
    return {"text": event.text} if isinstance(event, Text) else {"thinking": event.text}


def _delta(event: Text | Reasoning | CallArguments) -> dict[str, object]:
    if isinstance(event, Text):
        return {"type": "text_delta", "text": event.text}
    if isinstance(event, Reasoning):
        return {"type": "thinking_delta", "thinking": event.text}
    return {"type": "input_json_delta", "partial_json": event.text}


def _sse(event: Mapping[str, Any]) -> bytes:
    kind: str = event["type"]
    return b"event: " + kind.encode() + b"\ndata: " + _encode(event) + b"\n\n"
