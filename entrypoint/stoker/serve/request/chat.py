"""What a chat request means for its model: the prompt, the form that the text must have, and how it is to be read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from stoker.launch.capabilities import GUIDES
from stoker.launch.generation import Guide
from stoker.serve.answer.events import Parser, PlainText
from stoker.serve.answer.parsers.families import BARE, Family, Held
from stoker.serve.answer.parsers.reasoning import ReasoningParser, Thinking, ThinkingTokens
from stoker.serve.answer.parsers.tools import Form, ToolParser
from stoker.serve.generate.budget import Budget
from stoker.serve.http.errors import invalid, unavailable, unsupported
from stoker.serve.http.ignored import ignore_parameter
from stoker.serve.operate.frontend import Frontend
from stoker.serve.request.call_form import call_form
from stoker.serve.request.chat_template import (
    RESERVED,
    ChatTemplate,
    TemplateMissingError,
    TemplateRefusedError,
    rendering_of,
)
from stoker.serve.request.guided.calls import calls_grammar, free_grammar
from stoker.serve.request.guided.constraints import Constraint, compiled, constraint_of
from stoker.serve.request.guided.grammar import Grammar
from stoker.serve.request.guided.thinking import after_thinking
from stoker.serve.request.messages import CallForm, has_broken_arguments, template_messages
from stoker.serve.request.requests import ChatRequest
from stoker.serve.request.roles import simpler
from stoker.serve.request.sampling import check_guides, keeps_end, too_long, truncated
from stoker.serve.request.template_process import TemplateUnavailableError
from stoker.serve.request.tool_use import ToolUse, tool_use

_READ_ANYWAY = 256 << 10  # bytes; more is first compared with the context
_BYTES = 4  # of a character, at most


@dataclass(frozen=True)
class Conversation:
    """`parser` makes a parser for each choice, None where the text is nothing but text; `thinking` what counts each
    one's tokens of thinking."""

    prompt: list[int]
    guide: Guide | None
    parser: Callable[[], Parser] | None
    use: ToolUse | None
    budget: Budget | None
    thinking: Callable[[], ThinkingTokens] | None


async def conversation(request: ChatRequest, frontend: Frontend, most: int = 0) -> Conversation:
    """ApiError naming the parameter at fault. `most`: tokens of a prompt that is only counted; else the context's."""
    if len(request.messages) > frontend.limits.messages:
        raise invalid(f"More than {frontend.limits.messages} messages in one request.", "messages")
    most = most or frontend.context.length
    use = tool_use(request)
    family = _family(frontend) if use is not None else None
    rendered = await _render(request, use, frontend, most)
    begun = _begun(request, rendered, frontend.thinking)
    held = _held(family, begun, frontend) if use is not None and use.must and family else None
    special = bool(request.add_special_tokens)
    left = keeps_end(request)
    prompt = await frontend.tokenizer.encode(rendered, add_special_tokens=special, most=most, left=left)
    prompt = truncated(prompt, request, frontend.context)
    if not prompt:
        raise invalid("The messages make an empty prompt.", "messages")
    opening = _opening_id(held, frontend)
    constraint = _constraint(request, frontend, use, family, held, opening=opening is None)
    fits = len(prompt) < frontend.context.length  # else it is refused for that, or its tokens are only counted
    guide = await _guide(constraint, frontend, begun) if fits else None
    form = held.form if held else family.form if family else None
    budget = _budget(request, frontend, begun, guided=guide is not None)
    parser = _parser(frontend.thinking, form, use, begun, within=opening is not None)
    ids = [*prompt, *([] if opening is None else [opening])]
    return Conversation(ids, guide, parser, use, budget, _thinking(frontend, begun))


def _family(frontend: Frontend) -> Family:
    if frontend.tool_family is None:
        raise unsupported("tools", "This model's chat template has no place for tools.")
    return frontend.tool_family


def _held(family: Family, begun: bool | None, frontend: Frontend) -> Held:
    """A grammar cannot write control tokens: one that opens calls ends the prompt, unless thinking comes first."""
    special = frontend.tokenizer.special_id(family.held.opening) is not None
    return BARE if special and begun is not False else family.held


def _opening_id(held: Held | None, frontend: Frontend) -> int | None:
    return None if held is None else frontend.tokenizer.special_id(held.opening)


def _constraint(
    request: ChatRequest,
    frontend: Frontend,
    use: ToolUse | None,
    family: Family | None,
    held: Held | None,
    *,
    opening: bool,
) -> Constraint | None:
    """What asks for a form of the text, be it a call that must be made or arguments that must fit."""
    constraint = constraint_of(request)
    if use is None or family is None:
        return constraint
    if held is not None:
        if constraint is not None:
            raise invalid(f"'{constraint[0]}' contradicts the call that 'tool_choice' demands.", constraint[0])
        return "tools", lambda: calls_grammar(use, held, opening=opening)
    _check_strict(use, family, frontend)
    if not family.own or (constraint is None and use.first_strict is None):
        return constraint
    param, made = constraint or (f"tools[{use.first_strict}].function.strict", None)
    return param, lambda: free_grammar(use, family, made() if made else None)


def _check_strict(use: ToolUse, family: Family, frontend: Frontend) -> None:
    """ApiError where a model that is free to call could not be held to a strict tool's schema."""
    if use.first_strict is None or (family.own and GUIDES not in frontend.context.lacks):
        return
    how = "leave 'strict' out" if GUIDES in frontend.context.lacks else "demand the call by 'tool_choice'"
    text = f"A model that calls as this one does cannot be held to a strict tool's schema when it may choose; {how}."
    raise unsupported(f"tools[{use.first_strict}].function.strict", text)


async def _guide(constraint: Constraint | None, frontend: Frontend, begun: bool | None) -> Guide | None:
    if constraint is None:
        return None
    param, made = constraint
    check_guides(param, frontend.context)
    return await compiled(param, lambda: _with_thinking(made(), frontend, begun))


def _with_thinking(grammar: Grammar, frontend: Frontend, begun: bool | None) -> Grammar:
    return after_thinking(grammar, frontend.thinking, begun) if frontend.thinking else grammar


def _budget(request: ChatRequest, frontend: Frontend, begun: bool | None, *, guided: bool) -> Budget | None:
    if request.max_thinking_tokens is None:
        return None
    marks, tokenizer = frontend.thinking, frontend.tokenizer
    if marks is None:
        raise unsupported("max_thinking_tokens", "This model's chat template has no reasoning markers.")
    if guided:
        text = "A thinking budget and a form that the text must have do not go together."
        raise unsupported("max_thinking_tokens", text)
    closing = tokenizer.encode_now(f"\n{marks.closing}\n\n", add_special_tokens=False)
    return Budget(request.max_thinking_tokens, marks, bool(begun), tuple(closing), tokenizer.decode_all)


def _thinking(frontend: Frontend, begun: bool | None) -> Callable[[], ThinkingTokens] | None:
    marks, decode = frontend.thinking, frontend.tokenizer.decode_all
    return None if marks is None else lambda: ThinkingTokens(marks, begun, decode)


def _parser(
    thinking: Thinking | None, form: Form | None, use: ToolUse | None, begun: bool | None, *, within: bool
) -> Callable[[], Parser] | None:
    if form is None and thinking is None:
        return None

    def make() -> Parser:
        answer = ToolParser(form, use.names, within=within) if form and use else PlainText()
        return ReasoningParser(thinking, answer, begun) if thinking else answer

    return make


def _begun(request: ChatRequest, rendered: str, thinking: Thinking | None) -> bool | None:
    """Whether the model is thinking where the prompt ends; None where it may begin to. In the middle of an answer it
    does not begin."""
    begun = thinking.begun_in(rendered) if thinking else False
    return bool(begun) if request.continue_final_message else begun


async def _render(request: ChatRequest, use: ToolUse | None, frontend: Frontend, most: int) -> str:
    template = _template(request, frontend, tools=use is not None)
    if isinstance(template, TemplateMissingError):
        raise invalid(str(template), "messages", "chat_template_missing")
    try:
        return await _rendered(request, use, template, frontend, most)
    except TemplateRefusedError as error:
        raise invalid(f"The model's chat template refused these messages: {error}", "messages") from error
    except TemplateUnavailableError as error:
        raise unavailable(f"The chat template cannot be rendered now: {error}. Try again.", "overloaded") from error


async def _rendered(
    request: ChatRequest, use: ToolUse | None, template: ChatTemplate, frontend: Frontend, most: int
) -> str:
    """As the request has it; a template that refuses that is given the next that means the same."""
    arguments, tools = _arguments(request, template), None if use is None else use.for_template()
    calls = any(message.tool_calls for message in request.messages)
    form = await asyncio.to_thread(call_form, template) if calls else CallForm()
    messages = template_messages(request.messages, form)
    given = rendering_of(messages, arguments, tools)
    if len(given) > max(_READ_ANYWAY, most * frontend.tokenizer.longest * _BYTES):
        raise too_long(frontend.context, "messages", f"are {len(given)} bytes long")
    try:
        prompt = await template.rendered(given)
    except TemplateRefusedError as refusal:
        prompt, messages = await _reordered(_readings(request, messages, form), template, arguments, tools, refusal)
    return _up_to(prompt, messages[-1]) if request.continue_final_message else prompt


def _readings(
    request: ChatRequest, messages: list[dict[str, object]], form: CallForm
) -> Iterator[list[dict[str, object]]]:
    """What else the conversation may be for a template that refuses it, the nearest first."""
    if not form.text and has_broken_arguments(request.messages):
        messages = template_messages(request.messages, form, wrapped=True)
        yield messages
    yield from simpler(messages)


async def _reordered(
    readings: Iterable[list[dict[str, object]]],
    template: ChatTemplate,
    arguments: Mapping[str, object],
    tools: list[dict[str, object]] | None,
    refusal: TemplateRefusedError,
) -> tuple[str, list[dict[str, object]]]:
    """The prompt of the first that is taken, and its messages; the first refusal, where none is."""
    for messages in readings:
        with contextlib.suppress(TemplateRefusedError):
            return await template.rendered(rendering_of(messages, arguments, tools)), messages
    raise refusal


def _template(request: ChatRequest, frontend: Frontend, *, tools: bool) -> ChatTemplate | TemplateMissingError:
    """The one that the request names, of the model's own: others are programs, and not taken from clients."""
    if request.chat_template is None:
        return frontend.template_for(tools=tools)
    found = frontend.template_named(request.chat_template)
    if found is None:
        text = "'chat_template' names one of the model's own templates, and this model has none of that name."
        raise unsupported("chat_template", text)
    return found


def _up_to(prompt: str, last: Mapping[str, object]) -> str:
    """What transformers leaves of a prompt whose last message is to go on: nothing after that message's text."""
    text = str(last["content"] or "")
    at = prompt.rfind(text.strip())
    if last["role"] != "assistant" or "tool_calls" in last or not text.strip() or at < 0:
        raise invalid("Only a last message of the assistant with text can be continued.", "continue_final_message")
    whole = text.lstrip()
    return prompt[: at + len(whole)] if prompt.startswith(whole, at) else prompt[: at + len(text.strip())]


def _arguments(request: ChatRequest, template: ChatTemplate) -> Mapping[str, object]:
    """The template's own; reasoning_effort is one where the template knows it."""
    arguments = dict(request.chat_template_kwargs or {})
    for name in RESERVED:
        if name in arguments:
            raise unsupported(f"chat_template_kwargs.{name}")
    if request.reasoning_effort is not None:
        arguments.update(_effort(request.reasoning_effort, template.source))
    if request.documents is not None:
        arguments["documents"] = request.documents
    return arguments | {"add_generation_prompt": _prompts_answer(request)}


def _prompts_answer(request: ChatRequest) -> bool:
    """Whether the prompt ends with the opening of the assistant's answer."""
    if request.continue_final_message and request.add_generation_prompt:
        text = "'continue_final_message' and 'add_generation_prompt' contradict each other."
        raise invalid(text, "add_generation_prompt")
    return request.add_generation_prompt is not False and not request.continue_final_message


def _effort(effort: str, source: str) -> dict[str, object]:
    if "reasoning_effort" in source:
        return {"reasoning_effort": effort}
    if "enable_thinking" in source and effort == "none":
        return {"enable_thinking": False}
    ignore_parameter(
        "reasoning_effort", "This model's chat template does not support this reasoning effort; leave it out."
    )
    return {}
