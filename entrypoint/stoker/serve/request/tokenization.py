"""/tokenize and /detokenize, in vLLM's form."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from stoker.serve.http.errors import invalid
from stoker.serve.operate.frontend import Frontend
from stoker.serve.request.chat import conversation
from stoker.serve.request.preparation import check_model
from stoker.serve.request.prompts import checked_ids
from stoker.serve.request.requests import ChatRequest, FunctionTool, Message


class TokenizeRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Either a `prompt` or `messages`, which are rendered by the chat template first."""

    model: str | None = None
    prompt: str | None = None
    messages: Annotated[list[Message], Meta(min_length=1)] | None = None
    tools: list[FunctionTool] | None = None
    chat_template_kwargs: dict[str, object] | None = None
    chat_template: str | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    add_special_tokens: bool = True
    return_token_strs: bool = False


class DetokenizeRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str | None = None
    tokens: list[int]


def check_count(tokens: int, param: str, frontend: Frontend) -> None:
    """ApiError for more than are counted here; a text that has more was not read to its end."""
    most = frontend.context.longest_counted
    if tokens > most:
        text = f"More than {most} tokens are not counted here."
        raise invalid(text, param, "context_length_exceeded")


async def tokenize(request: TokenizeRequest, frontend: Frontend) -> dict[str, object]:
    """ApiError naming the parameter at fault."""
    check_model(request.model or frontend.names[0], frontend)
    ids = await _ids(request, frontend)
    check_count(len(ids), "prompt" if request.prompt is not None else "messages", frontend)
    texts = None
    if request.return_token_strs:
        texts = [frontend.tokenizer.token_bytes(id_).decode(errors="replace") for id_ in ids]
    return {"count": len(ids), "max_model_len": frontend.context.length, "tokens": ids, "token_strs": texts}


async def _ids(request: TokenizeRequest, frontend: Frontend) -> list[int]:
    if (request.prompt is None) == (request.messages is None):
        raise invalid("Give one of 'prompt' and 'messages'.", "prompt")
    if request.prompt is not None:
        most = frontend.context.longest_counted
        special = request.add_special_tokens
        return await frontend.tokenizer.encode(request.prompt, add_special_tokens=special, most=most)
    chat = ChatRequest(
        model=frontend.names[0],
        messages=request.messages or [],
        tools=request.tools,
        chat_template_kwargs=request.chat_template_kwargs,
        chat_template=request.chat_template,
        add_generation_prompt=request.add_generation_prompt,
        continue_final_message=request.continue_final_message,
    )
    return (await conversation(chat, frontend, frontend.context.longest_counted)).prompt


async def detokenize(request: DetokenizeRequest, frontend: Frontend) -> dict[str, object]:
    """ApiError naming the parameter at fault."""
    check_model(request.model or frontend.names[0], frontend)
    check_count(len(request.tokens), "tokens", frontend)
    size = max(frontend.vocabulary_size, frontend.tokenizer.size)
    return {"prompt": frontend.tokenizer.decode(checked_ids(request.tokens, "tokens", size))}
