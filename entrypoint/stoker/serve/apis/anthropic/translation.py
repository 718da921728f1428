"""From Anthropic's request to the chat request that means the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from stoker.serve.apis.anthropic.requests import (
    UNSUPPORTED,
    Message,
    MessagesRequest,
    OutputConfig,
    Prompt,
    RedactedThinking,
    Text,
    Thinking,
    ThinkingConfig,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    Unread,
)
from stoker.serve.http.errors import invalid, unsupported
from stoker.serve.operate.frontend import Frontend
from stoker.serve.request.chat_template import ChatTemplate
from stoker.serve.request.requests import ChatRequest


def check(request: Prompt) -> None:
    """ApiError naming a parameter that is not supported."""
    for name in UNSUPPORTED:
        if getattr(request, name, None) is not None:
            raise unsupported(name)


def chat_request(request: Prompt, frontend: Frontend) -> ChatRequest:
    """ApiError naming the parameter at fault."""
    document: dict[str, object] = {"model": request.model, "messages": _messages(request)}
    if request.tools:
        document["tools"] = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(request.tools)]
    document |= _choice(request.tool_choice)
    document |= _output(request)
    if request.messages[-1].role == "assistant":  # an answer that is begun
        document |= {"continue_final_message": True, "add_generation_prompt": False}
    document |= _thinking(request.thinking, frontend, tools=bool(request.tools))
    if isinstance(request, MessagesRequest):
        document |= _sampling(request)
    return msgspec.convert(document, ChatRequest)


def _output(request: Prompt) -> dict[str, object]:
    config = request.output_config or OutputConfig()
    form = request.output_format or config.format
    if request.output_format is not None and config.format is not None:
        raise invalid("The form of the text is given twice.", "output_format")
    meant: dict[str, object] = {} if config.effort is None else {"reasoning_effort": config.effort}
    if form is not None:
        named = {"name": "output", "schema": form.schema}
        meant["response_format"] = {"type": "json_schema", "json_schema": named}
    return meant


def _sampling(request: MessagesRequest) -> dict[str, object]:
    given = {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop": request.stop_sequences or None,
        "stream": request.stream,
    }
    return {name: value for name, value in given.items() if value is not None}


def _messages(request: Prompt) -> list[dict[str, object]]:
    system: list[dict[str, object]] = [{"role": "system", "content": _text(request.system)}] if request.system else []
    return [*system, *(each for index, one in enumerate(request.messages) for each in _message(one, index))]


def _message(message: Message, index: int) -> Iterator[dict[str, object]]:
    """One of theirs may be several of OpenAI's: results of tools are messages of their own, before the user's text."""
    if isinstance(message.content, str):
        yield {"role": message.role, "content": message.content}
        return
    _check_blocks(message, f"messages[{index}].content")
    if message.role == "assistant":
        yield _assistant(message.content)
        return
    results = [block for block in message.content if isinstance(block, ToolResult)]
    for result in results:
        yield {"role": "tool", "tool_call_id": result.tool_use_id, "content": _text(result.content)}
    texts = [block for block in message.content if isinstance(block, Text)]
    if texts or not results:
        yield {"role": message.role, "content": _text(texts)}


_ALLOWED = {"user": (Text, ToolResult), "system": (Text,), "assistant": (Text, ToolUse, Thinking, RedactedThinking)}


def _check_blocks(message: Message, where: str) -> None:
    for index, block in enumerate(message.content):
        at = f"{where}[{index}]"
        if isinstance(block, ToolResult) and isinstance(block.content, list):
            _check_read(block.content, f"{at}.content")
        _check_read([block], where, index)
        if not isinstance(block, _ALLOWED[message.role]):
            text = f"A block of type '{_kind(block)}' is not valid in a message of the {message.role}'s."
            raise invalid(text, f"{at}.type")


def _check_read(blocks: Sequence[object], where: str, first: int = 0) -> None:
    for index, block in enumerate(blocks, first):
        if isinstance(block, Unread):
            text = f"Content of type '{_kind(block)}' is not supported: this model reads text."
            raise unsupported(f"{where}[{index}].type", text)


def _kind(block: Any) -> str:
    return str(type(block).__struct_config__.tag)


def _assistant(blocks: Sequence[object]) -> dict[str, object]:
    said: dict[str, object] = {"role": "assistant", "content": _text([one for one in blocks if isinstance(one, Text)])}
    calls = [_call(block) for block in blocks if isinstance(block, ToolUse)]
    thoughts = "".join(block.thinking for block in blocks if isinstance(block, Thinking))
    if calls:
        said["tool_calls"] = calls
    if thoughts:
        said["reasoning_content"] = thoughts
    return said


def _call(block: ToolUse) -> dict[str, object]:
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": block.input}}


def _text(content: str | Sequence[object] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(block.text for block in content if isinstance(block, Text))


def _tool(tool: Tool, where: str) -> dict[str, object]:
    if tool.type not in (None, "custom"):
        text = f"Nothing here runs tools of type '{str(tool.type)[:40]}': only custom ones, which the client runs."
        raise unsupported(f"{where}.type", text)
    if tool.input_schema is None:
        param = f"{where}.input_schema"
        raise invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
    function = {"name": tool.name, "parameters": tool.input_schema}
    given = {"description": tool.description, "strict": tool.strict}
    return {
        "type": "function",
        "function": function | {name: value for name, value in given.items() if value is not None},
    }


def _choice(choice: ToolChoice | None) -> dict[str, object]:
    if choice is None:
        return {}
    if (choice.type == "tool") != (choice.name is not None):
        raise invalid("'name' belongs to the tool choice 'tool', and must be given there.", "tool_choice.name")
    named = {"type": "function", "function": {"name": choice.name}}
    meant = {"auto": "auto", "any": "required", "none": "none", "tool": named}[choice.type]
    parallel = {"parallel_tool_calls": False} if choice.disable_parallel_tool_use else {}
    return {"tool_choice": meant, **parallel}


def _thinking(config: ThinkingConfig | None, frontend: Frontend, *, tools: bool) -> dict[str, object]:
    """A template that can be told to think or not is told; another thinks as it does."""
    template = frontend.template_for(tools=tools)
    if config is None or not isinstance(template, ChatTemplate):
        return {}
    if "enable_thinking" in template.source:
        return {"chat_template_kwargs": {"enable_thinking": config.type != "disabled"}}
    if config.type == "enabled" and frontend.thinking is None:
        raise unsupported("thinking", "This model does not support reasoning; leave 'thinking' out.")
    return {}
