"""Chat messages: checked, and made into the plain data that templates read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from stoker.serve.http.errors import invalid, unsupported
from stoker.serve.request.requests import Message, Part, ToolCall


@dataclass(frozen=True)
class CallForm:
    """How a chat template reads an assistant's tool calls. `text`: arguments are JSON in a string, and not an object.
    `no_content`: the content of a message that has calls and no text.
    """

    text: bool = False
    no_content: str | None = ""


def template_messages(
    messages: Sequence[Message], form: CallForm | None = None, *, wrapped: bool = False
) -> list[dict[str, object]]:
    """Raises ApiError naming the message and what is wrong in it.

    `wrapped`: arguments that are no JSON object are given within one, for templates that read nothing else.
    """
    form = form or CallForm()
    return [_plain(message, f"messages[{index}]", form, wrapped) for index, message in enumerate(messages)]


def has_broken_arguments(messages: Sequence[Message]) -> bool:
    """Whether any call's arguments are no JSON object, as those that were cut off are not."""
    calls = (call for message in messages for call in message.tool_calls or ())
    return any(_object(call.function.arguments) is None for call in calls)


def _plain(message: Message, where: str, form: CallForm, wrapped: bool) -> dict[str, object]:
    """A developer speaks as the system: open models' templates know only that name."""
    _check(message, where)
    role = "system" if message.role == "developer" else message.role
    content: str | None = _text(message.content, f"{where}.content") or message.refusal or ""
    if message.tool_calls:
        content = content or form.no_content
    plain: dict[str, object] = {"role": role, "content": content}
    if message.tool_calls:
        plain["tool_calls"] = [_call(call, form, wrapped) for call in message.tool_calls]
    reasoning = message.reasoning_content or message.reasoning
    named = {"name": message.name, "tool_call_id": message.tool_call_id, "reasoning_content": reasoning}
    return plain | {name: value for name, value in named.items() if value is not None}


def _check(message: Message, where: str) -> None:
    for name in ("audio", "function_call"):
        if getattr(message, name) is not None:
            raise unsupported(f"{where}.{name}")
    if message.content is None and message.role != "assistant":
        raise invalid(f"Missing required parameter: '{where}.content'.", f"{where}.content")
    if message.role == "tool" and message.tool_call_id is None:
        raise invalid("A tool message needs the id of its call.", f"{where}.tool_call_id")
    for name in ("tool_calls", "refusal", "reasoning_content", "reasoning"):
        if getattr(message, name) and message.role != "assistant":
            raise invalid(f"'{name}' belongs to assistant messages.", f"{where}.{name}")


def _text(content: str | list[Part] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(_part(part, f"{where}[{index}]") for index, part in enumerate(content))


def _part(part: Part, where: str) -> str:
    if part.type not in ("text", "refusal"):
        refusal = f"Content of type '{part.type[:40]}' is not supported: this model reads text."
        raise unsupported(f"{where}.type", refusal)
    text = part.text if part.type == "text" else part.refusal
    if text is None:
        param = f"{where}.{part.type}"
        raise invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
    return text


def _call(call: ToolCall, form: CallForm, wrapped: bool) -> dict[str, object]:
    function = {"name": call.function.name, "arguments": _arguments(call.function.arguments, form, wrapped)}
    return {"id": call.id, "type": "function", "function": function}


def _arguments(given: str | dict[str, object], form: CallForm, wrapped: bool) -> str | dict[str, object]:
    """What is not a JSON object is passed on as it is: the model wrote it, and may see it again."""
    if form.text:
        return given or "{}" if isinstance(given, str) else msgspec.json.encode(given).decode()
    read = _object(given)
    if read is not None:
        return read
    return {"arguments": given} if wrapped else given


def _object(arguments: str | dict[str, object]) -> dict[str, object] | None:
    if isinstance(arguments, dict):
        return arguments
    try:
        value = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
