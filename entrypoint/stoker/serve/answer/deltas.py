"""Events in the form of chat's chunks and messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from stoker.serve.answer.events import CallArguments, CallStart, Event, Reasoning, Text, joined

_encode = msgspec.json.Encoder().encode


def delta(event: Event) -> bytes:
    """`"delta":{...}` of one event."""
    return b'"delta":' + _encode(_fields(event))


def _fields(event: Event) -> dict[str, object]:
    if isinstance(event, Text):
        return {"content": event.text}
    if isinstance(event, Reasoning):
        return {"reasoning_content": event.text}
    if isinstance(event, CallStart):
        function = {"name": event.name, "arguments": ""}
        return {"tool_calls": [{"index": event.index, "id": event.id, "type": "function", "function": function}]}
    return {"tool_calls": [{"index": event.index, "function": {"arguments": event.text}}]}


def message(events: Iterable[Event]) -> dict[str, Any]:
    """An assistant's message; `content` is null where there are calls and no text."""
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for event in joined(list(events)):
        if isinstance(event, Text):
            texts.append(event.text)
        elif isinstance(event, Reasoning):
            thoughts.append(event.text)
        elif isinstance(event, CallStart):
            calls.append({"id": event.id, "type": "function", "function": {"name": event.name, "arguments": ""}})
        elif isinstance(event, CallArguments):
            calls[event.index]["function"]["arguments"] = event.text
    content = "".join(texts)
    said: dict[str, Any] = {"role": "assistant", "content": content or (None if calls else ""), "refusal": None}
    if thoughts:
        said["reasoning_content"] = "".join(thoughts)
    return {**said, "tool_calls": calls} if calls else said
