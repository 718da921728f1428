"""From a request's body to what is to be generated and how the answer is to look."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stoker.launch.generation import Generation, Guide
from stoker.serve.chat import conversation
from stoker.serve.chunks import CHAT, COMPLETION, Identity, Shape
from stoker.serve.detokenizing import Detokenizer
from stoker.serve.errors import ApiError, invalid, unsupported
from stoker.serve.events import Parser
from stoker.serve.frontend import Frontend
from stoker.serve.guided.wishes import guide_of
from stoker.serve.log_probs import ChatLogProbs, CompletionLogProbs
from stoker.serve.requests import ChatRequest, CompletionRequest, Parameters, parse
from stoker.serve.sampling import generations, stop_strings
from stoker.serve.sequence import Sequence as Choice

MAX_CHOICES_IN_ALL = 512


@dataclass(frozen=True)
class Job:
    """One request, understood: `generations[i]` becomes choice i of the answer."""

    shape: Shape
    identity: Identity
    generations: list[Generation]
    choices: list[Choice]
    prompt_tokens: int
    stream: bool
    with_usage: bool
    log_probs: Callable[[Choice], Any] | None


Prepare = Callable[[bytes, Frontend], Awaitable[Job]]


async def prepare_chat(body: bytes, frontend: Frontend) -> Job:
    """Raises ApiError naming the parameter at fault."""
    request = parse(body, ChatRequest)
    _check_model(request.model, frontend)
    if request.top_logprobs:
        raise unsupported("top_logprobs", "The engine tells the chosen token's log probability only: top_logprobs 0.")
    if request.top_logprobs is not None and not request.logprobs:
        raise invalid("The 'top_logprobs' parameter is only allowed when 'logprobs' is true.", "top_logprobs")
    if len(request.messages) > frontend.limits.messages:
        raise invalid(f"More than {frontend.limits.messages} messages in one request.", "messages")
    said = await conversation(request, frontend)
    renderer = ChatLogProbs(frontend.tokenizer.token_bytes) if request.logprobs else None
    job = _job(request, frontend, [said.prompt], CHAT, "chatcmpl-", renderer, [()], said.guide, said.parser)
    if said.use is not None and said.use.named:
        for each in job.choices:  # as OpenAI has it: a call that was demanded by name is a plain end
            each.called_reason = "stop"
    return job


async def prepare_completion(body: bytes, frontend: Frontend) -> Job:
    """Raises ApiError naming the parameter at fault."""
    request = parse(body, CompletionRequest)
    _check_model(request.model, frontend)
    if (request.logprobs or 0) > 1:
        raise unsupported("logprobs", "The engine tells the chosen token's log probability only: logprobs 0 or 1.")
    guide = await guide_of(request)
    prompts = await _prompts(request.prompt, frontend)
    if len(prompts) * (request.n or 1) > MAX_CHOICES_IN_ALL:
        raise invalid(f"More than {MAX_CHOICES_IN_ALL} completions in one request.", "prompt")
    renderer = None
    if request.logprobs is not None:
        renderer = CompletionLogProbs(frontend.tokenizer.token_bytes, top=request.logprobs > 0)
    return _job(request, frontend, prompts, COMPLETION, "cmpl-", renderer, prompts, guide)


def _job(
    request: Parameters,
    frontend: Frontend,
    prompts: Sequence[Sequence[int]],
    shape: Shape,
    id_prefix: str,
    log_probs: Callable[[Choice], Any] | None,
    contexts: Sequence[Sequence[int]],
    guide: Guide | None,
    parser: Callable[[], Parser] | None = None,
) -> Job:
    """`contexts`: the prompts that completions continue in mid-text; empty where an answer begins afresh."""
    identity = Identity(id_prefix + uuid.uuid4().hex, int(time.time()), request.model, frontend.fingerprint)
    wanted = generations(request, identity.id, prompts, frontend.context, log_probs=log_probs is not None, guide=guide)
    stops = stop_strings(request)
    count = request.n or 1
    choices = [
        Choice(
            generation,
            Detokenizer(frontend.tokenizer, contexts[index // count], frontend.shown if parser else None),
            stops,
            parser() if parser else None,
        )
        for index, generation in enumerate(wanted)
    ]
    options = request.stream_options
    return Job(
        shape=shape,
        identity=identity,
        generations=wanted,
        choices=choices,
        prompt_tokens=sum(map(len, prompts)),
        stream=bool(request.stream),
        with_usage=bool(options and options.include_usage),
        log_probs=log_probs,
    )


def _check_model(model: str, frontend: Frontend) -> None:
    if model not in frontend.names:
        served = ", ".join(frontend.names)
        text = f"The model '{model[:200]}' does not exist; served here: {served}."
        raise ApiError(404, text, param="model", code="model_not_found")


async def _prompts(prompt: str | list[str | int | list[int]], frontend: Frontend) -> list[list[int]]:
    """A text, token ids, or a list of either."""
    if isinstance(prompt, str):
        return [await _prompt(prompt, "prompt", frontend)]
    if isinstance(prompt[0], int):
        return [await _prompt(prompt, "prompt", frontend)]
    return await asyncio.gather(
        *(_prompt(entry, f"prompt[{index}]", frontend) for index, entry in enumerate(prompt)),
    )


async def _prompt(entry: Any, where: str, frontend: Frontend) -> list[int]:
    if isinstance(entry, str):
        ids = await frontend.tokenizer.encode(entry, add_special_tokens=True)
    elif isinstance(entry, list):
        ids = _checked_ids(entry, where, frontend)
    else:
        raise invalid("A prompt is a text, token ids, or a list of either, not mixed.", where, "invalid_type")
    if not ids:
        raise invalid("The prompt is empty.", where)
    return ids


def _checked_ids(ids: list[Any], where: str, frontend: Frontend) -> list[int]:
    for index, token_id in enumerate(ids):
        if not isinstance(token_id, int):
            raise invalid("Token ids and texts cannot be mixed.", f"{where}[{index}]", "invalid_type")
        if not 0 <= token_id < frontend.vocabulary_size:
            text = f"Token ids are 0 to {frontend.vocabulary_size - 1}, not {token_id}."
            raise invalid(text[:200], f"{where}[{index}]")
    return ids
