"""From a request of the Responses API to the chat request that means the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from stoker.serve.apis.openai_responses.requests import UNSUPPORTED, Item, ResponsesRequest
from stoker.serve.apis.openai_responses.tools import Offered, choice, flat_name
from stoker.serve.http.errors import invalid, unsupported
from stoker.serve.request.requests import ChatRequest

_TEXTS = ("input_text", "output_text", "text", "reasoning_text", "summary_text", "refusal")


def check(request: ResponsesRequest) -> None:
    """ApiError naming a parameter that is not supported."""
    for name in UNSUPPORTED:
        if getattr(request, name) is not None:
            raise unsupported(name)
    if request.stream_options is not None and not request.stream:
        raise invalid("The 'stream_options' parameter is only allowed when 'stream' is true.", "stream_options")


def items_of(request: ResponsesRequest) -> list[Item]:
    if isinstance(request.input, str):
        return [Item(role="user", content=request.input)]
    return request.input


def chat_request(request: ResponsesRequest, earlier: list[Item], tools: Sequence[Offered]) -> ChatRequest:
    """`earlier`: the items before this request's own. ApiError naming the parameter at fault."""
    system = [{"role": "system", "content": request.instructions}] if request.instructions else []
    messages = [*system, *_messages(earlier, "previous_response_id"), *_messages(items_of(request), "input")]
    document: dict[str, object] = {"model": request.model, "messages": messages}
    given = {
        "max_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stream": request.stream,
        "parallel_tool_calls": request.parallel_tool_calls,
        "reasoning_effort": request.reasoning.effort if request.reasoning else None,
        "tools": [tool.function() for tool in tools] or None,
        "tool_choice": choice(request.tool_choice),
        "response_format": _format(request),
    }
    document |= {name: value for name, value in given.items() if value is not None}
    return msgspec.convert(document, ChatRequest)


def _messages(items: Iterable[Item], where: str) -> list[dict[str, object]]:
    """Neighbouring items of the assistant are one message: what it thought, said and called."""
    messages: list[dict[str, object]] = []
    for index, item in enumerate(items):
        message = _message(item, f"{where}[{index}]")
        if messages and message["role"] == messages[-1]["role"] == "assistant":
            messages[-1] = _merged(messages[-1], message)
        else:
            messages.append(message)
    return messages


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, object]:
    merged = {"role": "assistant", "content": first["content"] + second["content"]}
    calls = [*first.get("tool_calls", ()), *second.get("tool_calls", ())]
    thoughts = first.get("reasoning_content", "") + second.get("reasoning_content", "")
    return merged | ({"tool_calls": calls} if calls else {}) | ({"reasoning_content": thoughts} if thoughts else {})


def _message(item: Item, where: str) -> dict[str, object]:
    if item.type == "reasoning":
        return {"role": "assistant", "content": "", "reasoning_content": _text(item.content, f"{where}.content")}
    if item.type in ("function_call", "custom_tool_call"):
        return {"role": "assistant", "content": "", "tool_calls": [_call(item, where)]}
    if item.type in ("function_call_output", "custom_tool_call_output"):
        _check(item, where, "call_id", "output")
        return {"role": "tool", "tool_call_id": item.call_id, "content": _text(item.output, f"{where}.output")}
    _check(item, where, "role", "content")
    return {"role": item.role, "content": _text(item.content, f"{where}.content")}


def _call(item: Item, where: str) -> dict[str, object]:
    given = "input" if item.type == "custom_tool_call" else "arguments"
    _check(item, where, "call_id", "name", given)
    arguments = {"input": item.input} if given == "input" else item.arguments
    function = {"name": flat_name(item.name or "", item.namespace), "arguments": arguments}
    return {"id": item.call_id, "type": "function", "function": function}


def _check(item: Item, where: str, *names: str) -> None:
    for name in names:
        if getattr(item, name) is None:
            param = f"{where}.{name}"
            raise invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def _text(content: str | list[dict[str, object]] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(_part(part, f"{where}[{index}]") for index, part in enumerate(content))


def _part(part: dict[str, object], where: str) -> str:
    kind = str(part.get("type"))[:40]
    if kind not in _TEXTS:
        raise unsupported(f"{where}.type", f"Content of type '{kind}' is not supported: this model reads text.")
    text = part.get("refusal" if kind == "refusal" else "text")
    if not isinstance(text, str):
        raise invalid(f"Expected a string for '{where}.text'.", f"{where}.text", "invalid_type")
    return text


def _format(request: ResponsesRequest) -> dict[str, object] | None:
    form = request.text.format if request.text else None
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return {"type": "json_object"}
    if form.name is None or form.schema is None:
        raise invalid("A format of type 'json_schema' needs 'name' and 'schema'.", "text.format")
    given = {"name": form.name, "schema": form.schema, "description": form.description, "strict": form.strict}
    return {"type": "json_schema", "json_schema": {name: value for name, value in given.items() if value is not None}}
