"""Chat messages: checked, and made into the plain data that templates read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from stoker.serve.http.errors import ApiError, invalid, unsupported
from stoker.serve.request.requests import Message


def template_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Raises ApiError naming the message and what is wrong in it."""
    return [_plain(message, f"messages[{index}]") for index, message in enumerate(messages)]


def _plain(message: Message, where: str) -> dict[str, Any]:
    """A developer speaks as the system: open models' templates know only that name."""
    _check_role(message, where)
    role = "system" if message.role == "developer" else message.role
    plain: dict[str, Any] = {"role": role, "content": _text(message.content, f"{where}.content")}
    if message.tool_calls:
        plain["tool_calls"] = [_call(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(message.tool_calls)]
    for name in ("name", "tool_call_id", "reasoning_content"):
        value = getattr(message, name)
        if value is not None:
            plain[name] = value
    return plain


def _check_role(message: Message, where: str) -> None:
    if message.content is None and (message.role != "assistant" or not (message.tool_calls or message.refusal)):
        raise invalid(f"Missing required parameter: '{where}.content'.", f"{where}.content")
    if message.role == "tool" and message.tool_call_id is None:
        raise invalid("A tool message needs the id of its call.", f"{where}.tool_call_id")
    for name in ("tool_calls", "refusal", "reasoning_content"):
        if getattr(message, name) and message.role != "assistant":
            raise invalid(f"'{name}' belongs to assistant messages.", f"{where}.{name}")


def _text(content: str | list[dict[str, Any]] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(_part(part, f"{where}[{index}]") for index, part in enumerate(content))


def _part(part: dict[str, Any], where: str) -> str:
    if part.get("type") != "text":
        kind = str(part.get("type"))[:40]
        raise unsupported(f"{where}.type", f"Content of type '{kind}' is not supported: this model reads text.")
    unknown = sorted(part.keys() - {"type", "text"})
    if unknown:
        name = unknown[0][:100]
        raise invalid(f"Unrecognized request argument supplied: {where}.{name}", f"{where}.{name}", "unknown_parameter")
    if not isinstance(part.get("text"), str):
        raise invalid(f"Expected a string for '{where}.text'.", f"{where}.text", "invalid_type")
    return str(part["text"])


def _call(call: dict[str, Any], where: str) -> dict[str, Any]:
    """Templates read arguments as an object where OpenAI sends JSON in a string."""
    function = call.get("function")
    if call.get("type", "function") != "function" or not isinstance(function, dict):
        raise _not_a_call(where)
    name, arguments = function.get("name"), function.get("arguments", "{}")
    if not isinstance(name, str) or not isinstance(arguments, str) or not isinstance(call.get("id", ""), str):
        raise _not_a_call(where)
    try:
        parsed = json.loads(arguments or "{}")
    except (ValueError, RecursionError) as error:
        raise invalid("The arguments are not JSON.", f"{where}.function.arguments") from error
    return {"id": call.get("id", ""), "type": "function", "function": {"name": name, "arguments": parsed}}


def _not_a_call(where: str) -> ApiError:
    return invalid("Expected a call of a function, with its name and arguments.", where, "invalid_type")
