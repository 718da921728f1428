"""A chat answer in the form of /v1/responses, whole and as server-sent events."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from stoker.json_text import parse_json
from stoker.serve.answer.answers import cached_tokens
from stoker.serve.answer.events import CallArguments, CallStart, Event, Reasoning, Text, joined
from stoker.serve.apis.openai_responses.requests import ResponsesRequest
from stoker.serve.apis.openai_responses.tools import Offered
from stoker.serve.generate.sequence import Piece
from stoker.serve.request.job import Job

_encode = msgspec.json.Encoder().encode


@dataclass
class _Open:
    """The item that is being filled."""

    kind: type
    item: dict[str, object]
    index: int
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def custom(self) -> bool:
        return bool(self.item["type"] == "custom_tool_call")


class ResponsesWriter:
    """`tools` by the names that the model has for them. `finished` is told the response once it is complete (to be
    stored)."""

    def __init__(
        self,
        job: Job,
        request: ResponsesRequest,
        tools: Mapping[str, Offered],
        finished: Callable[[dict[str, object]], None],
    ) -> None:
        self._job = job
        self._request = request
        self._tools = tools
        self._choice = job.choices[0]
        self._finished = finished
        self._output: list[dict[str, object]] = []
        self._open: _Open | None = None
        self._serial = 0
        self._parts: list[bytes] = []

    def whole(self, said: list[Piece]) -> bytes:
        for event in joined(self._choice.events(said[0])):
            self._take(event)
        self._close(cut=self._cut)
        response = self._complete()
        return _encode(response)

    def render(self, _: int, piece: Piece) -> bytes:
        self._parts = []
        if self._serial == 0:
            self._tell("response.created", response=self._response("in_progress"))
            self._tell("response.in_progress", response=self._response("in_progress"))
        for event in self._choice.events(piece):
            self._take(event)
        return b"".join(self._parts)

    def ending(self) -> bytes:
        self._parts = []
        self._close(cut=self._cut)
        response = self._complete()
        self._tell(f"response.{response['status']}", response=response)
        return b"".join(self._parts)

    def _tell(self, kind: str, **fields: object) -> None:
        event = {"type": kind, "sequence_number": self._serial, **fields}
        self._serial += 1
        self._parts.append(b"event: " + kind.encode() + b"\ndata: " + _encode(event) + b"\n\n")

    def _take(self, event: Event) -> None:
        kind = CallStart if isinstance(event, CallArguments) else type(event)
        if isinstance(event, CallStart) or self._open is None or self._open.kind is not kind:
            self._close()
            self._begin(event, kind)
        if not isinstance(event, CallStart):
            self._fill(event.text)

    def _begin(self, event: Event, kind: type) -> None:
        opened = self._open = _Open(kind, _item(event, self._tools), len(self._output))
        self._tell("response.output_item.added", output_index=opened.index, item=opened.item)
        if kind is not CallStart:
            part = _part(opened)
            self._tell("response.content_part.added", **self._place(opened), part=part)

    def _fill(self, text: str) -> None:
        opened = self._open
        assert opened is not None
        opened.pieces.append(text)
        if opened.custom:  # its input is within JSON, and told when that is complete
            return
        extra: dict[str, object] = {"logprobs": []} if opened.kind is Text else {}
        self._tell(f"response.{_NAMES[opened.kind]}.delta", **self._place(opened), delta=text, **extra)

    def _close(self, *, cut: bool = False) -> None:
        """`cut`: the item is the last one, of an answer that was cut off."""
        opened, self._open = self._open, None
        if opened is None:
            return
        self._tell_end(opened)
        item = _filled(opened, "incomplete" if cut else "completed")
        self._output.append(item)
        self._tell("response.output_item.done", output_index=opened.index, item=item)

    def _tell_end(self, opened: _Open) -> None:
        place = self._place(opened)
        if opened.custom:
            given = _free_text(opened.text)
            self._tell("response.custom_tool_call_input.delta", **place, delta=given)
            self._tell("response.custom_tool_call_input.done", **place, input=given)
            return
        name = f"response.{_NAMES[opened.kind]}.done"
        if opened.kind is CallStart:
            self._tell(name, **place, arguments=opened.text, name=opened.item["name"])
            return
        extra: dict[str, object] = {"logprobs": []} if opened.kind is Text else {}
        self._tell(name, **place, text=opened.text, **extra)
        self._tell("response.content_part.done", **place, part=_part(opened))

    @property
    def _cut(self) -> bool:
        return self._choice.finish_reason == "length"

    @staticmethod
    def _place(opened: _Open) -> dict[str, object]:
        place = {"item_id": opened.item["id"], "output_index": opened.index}
        return place if opened.kind is CallStart else {**place, "content_index": 0}

    def _complete(self) -> dict[str, object]:
        response = self._response("incomplete" if self._cut else "completed")
        if self._cut:
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        response["output"] = self._output
        response["usage"] = self._usage()
        self._finished(response)
        return response

    def _usage(self) -> dict[str, object]:
        """The SDK's types insist on both details."""
        prompt, completion = self._job.prompt_tokens, self._choice.tokens
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": cached_tokens(self._job) or 0},
            "output_tokens": completion,
            "output_tokens_details": {"reasoning_tokens": self._choice.reasoning_tokens or 0},
            "total_tokens": prompt + completion,
        }

    def _response(self, status: str) -> dict[str, object]:
        request, top_p = self._request, self._job.generations[0].top_p
        return {
            "id": self._job.identity.id,
            "object": "response",
            "created_at": self._job.identity.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata or {},
            "model": self._job.identity.model,
            "output": [],
            "parallel_tool_calls": request.parallel_tool_calls is not False,
            "previous_response_id": request.previous_response_id,
            "reasoning": {"effort": request.reasoning.effort if request.reasoning else None, "summary": None},
            "service_tier": "default",
            "store": bool(request.store),
            "temperature": self._job.generations[0].temperature,
            "text": {"format": _format(request), "verbosity": "medium"},
            "tool_choice": request.tool_choice or "auto",
            "tools": [_tool(tool) for tool in request.tools or ()],
            "top_p": 1.0 if top_p is None else top_p,
            "truncation": "disabled",
            "usage": None,
            "user": request.user,
        }


_NAMES: dict[type, str] = {Text: "output_text", Reasoning: "reasoning_text", CallStart: "function_call_arguments"}


def _item(event: Event, tools: Mapping[str, Offered]) -> dict[str, object]:
    if isinstance(event, CallStart):
        tool = tools.get(event.name)
        named = {"call_id": event.id, **(tool.called() if tool else {"name": event.name})}
        if tool is not None and tool.custom:
            return {"id": _id("ctc"), "type": "custom_tool_call", "status": "in_progress", **named, "input": ""}
        return {"id": _id("fc"), "type": "function_call", "status": "in_progress", **named, "arguments": ""}
    if isinstance(event, Reasoning):
        return {"id": _id("rs"), "type": "reasoning", "status": "in_progress", "summary": [], "content": []}
    return {"id": _id("msg"), "type": "message", "status": "in_progress", "role": "assistant", "content": []}


def _filled(opened: _Open, status: str) -> dict[str, object]:
    if opened.custom:
        return {**opened.item, "status": status, "input": _free_text(opened.text)}
    content = {"arguments": opened.text} if opened.kind is CallStart else {"content": [_part(opened)]}
    return {**opened.item, "status": status, **content}


def _free_text(arguments: str) -> str:
    """A custom tool's input; what a model wrote otherwise, or was cut short in, as it is."""
    try:
        value = parse_json(arguments)["input"]
    except (ValueError, TypeError, KeyError):
        return arguments
    return value if isinstance(value, str) else arguments


def _part(opened: _Open) -> dict[str, object]:
    if opened.kind is Reasoning:
        return {"type": "reasoning_text", "text": opened.text}
    return {"type": "output_text", "text": opened.text, "annotations": [], "logprobs": []}


def _id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"


def _format(request: ResponsesRequest) -> object:
    form = request.text.format if request.text else None
    return {"type": "text"} if form is None else {k: v for k, v in msgspec.to_builtins(form).items() if v is not None}


def _tool(tool: object) -> dict[str, object]:
    told = {name: value for name, value in msgspec.to_builtins(tool).items() if value is not None}
    return {"strict": None, "parameters": None, **told}
