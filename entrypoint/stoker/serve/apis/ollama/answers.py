"""Answers in the form of /api/chat and /api/generate: a JSON document, or JSON lines, the last one with the counts.

Durations are nanoseconds: `load_duration` until the engine had the request, `prompt_eval_duration` until the first
token, `eval_duration` from there on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, TypeAlias

import msgspec

from stoker.serve.answer.events import CallArguments, CallStart, Event, Reasoning, Text, arguments_object, joined
from stoker.serve.generate.measurement import Measurement
from stoker.serve.generate.sequence import Piece
from stoker.serve.request.job import Job

_encode = msgspec.json.Encoder().encode
JSON_LINES = b"application/x-ndjson"


Calls: TypeAlias = Sequence[dict[str, object]]
# A part of the answer: of its text, its thinking, and its calls.
Form: TypeAlias = Callable[[str, str, Calls], dict[str, object]]


def chat_part(content: str, thinking: str = "", calls: Calls = ()) -> dict[str, object]:
    message: dict[str, object] = {"role": "assistant", "content": content}
    message |= {"thinking": thinking} if thinking else {}
    return {"message": message | ({"tool_calls": calls} if calls else {})}


def generate_part(content: str, thinking: str = "", _calls: Calls = ()) -> dict[str, object]:
    return {"response": content, **({"thinking": thinking} if thinking else {})}


class LinesWriter:
    """`model`: as the request names it."""

    def __init__(self, form: Form, model: str, job: Job) -> None:
        self._form = form
        self._job = job
        self._choice = job.choices[0]
        self._head = {"model": model, "created_at": timestamp(job.identity.created)}
        self._plain = not self._choice.parsed and job.log_probs is None
        before, after = _encode({**self._head, **form("\0", "", ()), "done": False}).split(b'"\\u0000"')
        self._before, self._after = before, after + b"\n"
        self._call: list[CallStart | CallArguments] = []

    def render(self, _: int, piece: Piece) -> bytes:
        if self._plain:
            return self._before + _encode(piece.text) + self._after if piece.text else b""
        parts = [part for event in self._choice.events(piece) for part in self._parts(event)]
        log_probs = self._log_probs(piece)
        if log_probs:
            parts = parts or [self._form("", "", ())]
            parts[0] |= {"logprobs": log_probs}
        return b"".join(map(self._line, parts))

    def ending(self) -> bytes:
        left = b"".join(map(self._line, self._closed_call()))
        return left + _encode({**self._head, **self._form("", "", ()), **self._done()}) + b"\n"

    def whole(self, said: list[Piece]) -> bytes:
        events = self._choice.events(said[0])
        text = "".join(event.text for event in events if isinstance(event, Text))
        thoughts = "".join(event.text for event in events if isinstance(event, Reasoning))
        log_probs = self._log_probs(said[0])
        extra = {"logprobs": log_probs} if log_probs else {}
        return _encode({**self._head, **self._form(text, thoughts, calls_of(events)), **extra, **self._done()})

    def _line(self, part: dict[str, object]) -> bytes:
        return _encode({**self._head, **part, "done": False}) + b"\n"

    def _parts(self, event: Event) -> list[dict[str, object]]:
        """A call is told as a whole, once it is over."""
        if isinstance(event, CallArguments):
            self._call.append(event)
            return []
        parts = self._closed_call()
        if isinstance(event, CallStart):
            self._call = [event]
        elif event.text:
            parts.append(self._form(event.text, "", ()) if isinstance(event, Text) else self._form("", event.text, ()))
        return parts

    def _closed_call(self) -> list[dict[str, object]]:
        events, self._call = self._call, []
        return [self._form("", "", calls_of(events))] if events else []

    def _log_probs(self, piece: Piece) -> list[dict[str, object]]:
        rendered = self._job.log_probs(piece.log_probs) if self._job.log_probs is not None else None
        return rendered["content"] if rendered else []

    def _done(self) -> dict[str, object]:
        reason = "length" if self._choice.finish_reason == "length" else "stop"
        counts = {"prompt_eval_count": self._job.prompt_tokens, "eval_count": self._choice.tokens}
        assert self._job.measurement is not None
        return {"done": True, "done_reason": reason, **counts, **durations(self._job.measurement)}


def calls_of(events: Iterable[Event]) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    for event in joined(list(events)):
        if isinstance(event, CallStart):
            function = {"index": event.index, "name": event.name, "arguments": {}}
            calls.append({"id": event.id, "function": function})
        elif isinstance(event, CallArguments):
            calls[-1]["function"]["arguments"] = arguments_object(event.text)
    return calls


def durations(measurement: Measurement) -> dict[str, int]:
    total = time.perf_counter() - measurement.started
    load = min(measurement.prepared_seconds + measurement.queue_seconds, total)
    first = max(measurement.first_token_seconds or total, load)
    return {
        "total_duration": nanoseconds(total),
        "load_duration": nanoseconds(load),
        "prompt_eval_duration": nanoseconds(first - load),
        "eval_duration": nanoseconds(total - first),
    }


def nanoseconds(seconds: float) -> int:
    """At least 1: clients divide by it."""
    return max(1, int(seconds * 1e9))


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat().replace("+00:00", "Z")
