"""From Ollama's requests to those of the core that mean the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from stoker.serve.apis.ollama.requests import (
    NO_EFFECT,
    Asking,
    GenerateRequest,
    Message,
    OllamaChatRequest,
    Options,
    Tool,
)
from stoker.serve.http.errors import invalid, unsupported
from stoker.serve.http.ignored import ignore_parameter
from stoker.serve.operate.frontend import Frontend
from stoker.serve.request import requests as core
from stoker.serve.request.chat_template import ChatTemplate, TemplateMissingError

_OPTIONS = ("temperature", "top_k", "top_p", "min_p", "presence_penalty", "frequency_penalty")
_ANY_OBJECT = {"type": "object"}


def chat_request(request: OllamaChatRequest, model: str, frontend: Frontend) -> core.ChatRequest:
    """ApiError naming the parameter at fault. `model`: the name as it is served."""
    if len(request.messages or ()) > frontend.limits.messages:
        raise invalid(f"More than {frontend.limits.messages} messages in one request.", "messages")
    document = _shared(request, model) | {"messages": list(_messages(request.messages or []))}
    if request.tools:
        document["tools"] = [_tool(tool) for tool in request.tools]
    document |= _form(request) | _log_probs(request) | _thinking(request, frontend, tools=bool(request.tools))
    if request.messages and request.messages[-1].role == "assistant" and not request.messages[-1].tool_calls:
        document |= {"continue_final_message": True, "add_generation_prompt": False}
    return msgspec.convert(document, core.ChatRequest)


def generate_request(
    request: GenerateRequest, model: str, frontend: Frontend
) -> core.ChatRequest | core.CompletionRequest:
    """A conversation of one turn; with `raw` or `suffix`, or for a model without a chat template, plain text."""
    _check(request)
    if request.raw or request.suffix or isinstance(frontend.chat_template, TemplateMissingError):
        return _plain(request, model)
    system = [{"role": "system", "content": request.system}] if request.system else []
    messages = [*system, {"role": "user", "content": request.prompt or ""}]
    document = _shared(request, model) | {"messages": messages}
    document |= _form(request) | _log_probs(request) | _thinking(request, frontend, tools=False)
    return msgspec.convert(document, core.ChatRequest)


def _check(request: GenerateRequest) -> None:
    if request.images:
        raise _no_images("images")
    if request.template:
        raise unsupported("template", "The model's own chat template is used; with 'raw' the prompt is all there is.")
    if request.context:
        raise unsupported("context", "A conversation goes on in /api/chat, with its messages.")


def _plain(request: GenerateRequest, model: str) -> core.CompletionRequest:
    for name in ("system", "think", "logprobs"):
        if getattr(request, name):
            raise unsupported(name, f"'{name}' belongs to a chat template, and the prompt is continued as it is.")
    document = _shared(request, model) | {"prompt": request.prompt or ""}
    if request.suffix:
        document["suffix"] = request.suffix
    if request.format:
        document["guided_json"] = _ANY_OBJECT if request.format == "json" else request.format
    return msgspec.convert(document, core.CompletionRequest)


def _shared(request: Asking, model: str) -> dict[str, object]:
    return {"model": model, "stream": request.stream is not False, **_sampling(request.options or Options())}


def _sampling(options: Options) -> dict[str, object]:
    for name, harmless in NO_EFFECT.items():
        value = getattr(options, name)
        if value is not None and harmless is not None and value not in harmless:
            raise unsupported(f"options.{name}")
    given = {name: getattr(options, name) for name in _OPTIONS}
    given["stop"] = options.stop or None
    given["max_tokens"] = options.num_predict if (options.num_predict or 0) > 0 else None
    given["seed"] = None if options.seed == -1 else options.seed
    given["repetition_penalty"] = _repetition(options)
    return {name: value for name, value in given.items() if value is not None}


def _repetition(options: Options) -> float | None:
    """Over the whole text: a part of it cannot be looked at alone."""
    if options.repeat_last_n == 0:
        return None
    if options.repeat_last_n is not None and options.repeat_last_n > 0 and options.repeat_penalty is not None:
        ignore_parameter("options.repeat_last_n", "Penalties are over the whole text; leave 'repeat_last_n' out.")
    return options.repeat_penalty


def _form(request: Asking) -> dict[str, object]:
    if not request.format:
        return {}
    if request.format == "json":
        return {"response_format": {"type": "json_object"}}
    schema = {"name": "format", "schema": request.format}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _log_probs(request: Asking) -> dict[str, object]:
    if not request.logprobs:
        return {}
    return {"logprobs": True, **({"top_logprobs": request.top_logprobs} if request.top_logprobs else {})}


def _thinking(request: Asking, frontend: Frontend, *, tools: bool) -> dict[str, object]:
    """A template that can be told to think or not is told; another thinks as it does."""
    think, template = request.think, frontend.template_for(tools=tools)
    if think is None or not isinstance(template, ChatTemplate):
        return {}
    effort: dict[str, object] = {"reasoning_effort": think} if isinstance(think, str) else {}
    if "enable_thinking" in template.source:
        return {**effort, "chat_template_kwargs": {"enable_thinking": think is not False}}
    if think is not False and frontend.thinking is None:
        raise unsupported("think", f"\"{frontend.names[0]}\" does not support thinking; leave 'think' out.")
    return effort


def _messages(messages: list[Message]) -> Iterator[dict[str, object]]:
    open_calls = OpenCalls()
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if message.images:
            raise _no_images(f"{where}.images")
        said: dict[str, object] = {"role": message.role, "content": message.content or ""}
        if message.thinking:
            said["reasoning_content"] = message.thinking
        if message.tool_calls:
            said["tool_calls"] = calls = _calls(message, index)
            open_calls.add((call["id"], call["function"]["name"]) for call in calls)
        if message.role == "tool":
            name = message.tool_name or message.name
            said |= {"name": name} if name else {}
            said["tool_call_id"] = message.tool_call_id or open_calls.close(name, where)
        yield said


class OpenCalls:
    """Calls and their results find each other by ids, which Ollama's clients need not give: a result is that of the
    oldest call of its name that has none yet, else of the oldest one."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._by_name: dict[str, deque[str]] = {}

    def add(self, calls: Iterable[tuple[str, str]]) -> None:
        for id_, name in calls:
            self._names[id_] = name
            self._by_name.setdefault(name, deque()).append(id_)

    def close(self, name: str | None, where: str) -> str:
        """The id. ApiError where no call is open."""
        fitting = self._by_name.get(name or "", deque())
        while fitting and fitting[0] not in self._names:
            fitting.popleft()
        id_ = fitting[0] if fitting else next(iter(self._names), None)
        if id_ is None:
            raise invalid("A tool's message follows the call that it answers.", where)
        del self._names[id_]
        return id_


def _calls(message: Message, index: int) -> list[dict[str, Any]]:
    return [
        {"id": call.id or f"call_{index}_{place}", "type": "function",
         "function": {"name": call.function.name, "arguments": call.function.arguments}}
        for place, call in enumerate(message.tool_calls or ())
    ]  # fmt: skip


def _tool(tool: Tool) -> dict[str, object]:
    own = tool.function
    given = {"name": own.name, "description": own.description, "parameters": own.parameters}
    return {"type": "function", "function": {name: value for name, value in given.items() if value is not None}}


def _no_images(where: str) -> Exception:
    return unsupported(where, "Images are not supported: this model reads text.")
