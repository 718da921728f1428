"""From a request's body to what is to be generated and how the answer is to look."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from stoker.launch.capabilities import PROMPT_LOG_PROBS, TOP_LOG_PROBS
from stoker.launch.generation import Generation, Guide
from stoker.serve.answer.answers import ChunkWriter
from stoker.serve.answer.chunks import CHAT, COMPLETION, Identity, Shape
from stoker.serve.answer.events import Parser
from stoker.serve.answer.log_probs import ChatLogProbs, CompletionLogProbs, PromptLogProbs, RenderLogProbs
from stoker.serve.answer.parsers.reasoning import ThinkingTokens
from stoker.serve.generate.budget import Budget
from stoker.serve.generate.detokenizing import Detokenizer
from stoker.serve.generate.sequence import Echo
from stoker.serve.generate.sequence import Sequence as Choice
from stoker.serve.http.errors import ApiError, invalid, unsupported
from stoker.serve.http.limits import Call
from stoker.serve.operate.frontend import Frontend
from stoker.serve.request.chat import conversation
from stoker.serve.request.guided.constraints import guide_of
from stoker.serve.request.job import Job, Writer
from stoker.serve.request.prompts import check_embedded, echoes, prompt_count, prompts_of
from stoker.serve.request.requests import ChatRequest, CompletionRequest, Parameters, complete
from stoker.serve.request.sampling import generations, stop_strings, with_defaults

MAX_CHOICES_IN_ALL = 512
MAX_SCORES = 1 << 18  # log probabilities of prompts' tokens in one answer, some ten megabytes


@dataclass(frozen=True)
class _Parts:
    """`count`: choices generated for each prompt, of which `keep` are given. `contexts`: the prompts that completions
    continue in mid-text, empty where an answer begins afresh. `echoes`: said before each prompt's completions.
    `capped`: see `completion_length`. `tell_end`: the end token's log probability too."""

    shape: Shape
    id_prefix: str
    prompts: Sequence[Sequence[int]]
    contexts: Sequence[Sequence[int]]
    count: int
    keep: int
    guide: Guide | None = None
    log_probs: RenderLogProbs | None = None
    parser: Callable[[], Parser] | None = None
    thinking: Callable[[], ThinkingTokens] | None = None
    echoes: Sequence[Echo] | None = None
    tell_end: bool = False
    budget: Budget | None = None
    capped: bool = False


async def prepare_chat(request: ChatRequest, frontend: Frontend, _: Call) -> Job:
    """Raises ApiError naming the parameter at fault."""
    return await chat_job(complete(request), frontend)


async def chat_job(
    request: ChatRequest,
    frontend: Frontend,
    writer: Callable[[Job], Writer] = ChunkWriter,
    id_prefix: str = "chatcmpl-",
    *,
    capped: bool = False,
) -> Job:
    """`writer`: of another API whose request this means. `capped`: its answers end where the context does, however
    long they may be. Raises ApiError naming the parameter at fault."""
    check_model(request.model, frontend)
    if request.top_logprobs and TOP_LOG_PROBS in frontend.context.lacks:
        raise unsupported("top_logprobs", "Only the sampled token's log probability is available: set it to 0.")
    if request.top_logprobs is not None and not request.logprobs:
        raise invalid("The 'top_logprobs' parameter is only allowed when 'logprobs' is true.", "top_logprobs")
    said = await conversation(request, frontend)
    renderer = ChatLogProbs(frontend.tokenizer.token_bytes) if request.logprobs else None
    count = request.n or 1
    context = said.prompt if request.continue_final_message else ()
    parts = _Parts(CHAT, id_prefix, [said.prompt], [context], count, count, said.guide, renderer, said.parser)
    job = replace(
        _job(request, frontend, replace(parts, budget=said.budget, thinking=said.thinking, capped=capped)),
        writer=writer,
    )
    if said.use is not None and said.use.named:
        for each in job.choices:  # as OpenAI has it: a call that was demanded by name is a plain end
            each.called_reason = "stop"
    return job


async def prepare_completion(request: CompletionRequest, frontend: Frontend, _: Call) -> Job:
    """Raises ApiError naming the parameter at fault."""
    return await completion_job(request, frontend)


async def completion_job(request: CompletionRequest, frontend: Frontend, *, capped: bool = False) -> Job:
    """`capped`: its answers end where the context does, however long they may be. Raises ApiError naming the parameter
    at fault."""
    request = complete(request)
    check_model(request.model, frontend)
    _check_completion(request, frontend)
    keep = request.n or 1
    count = request.best_of or keep
    if prompt_count(request.prompt) * count > MAX_CHOICES_IN_ALL:
        raise invalid(f"More than {MAX_CHOICES_IN_ALL} completions in one request.", "prompt")
    guide = await guide_of(request, frontend.context)
    prompts = await prompts_of(request, frontend)
    renderer = None
    if request.logprobs is not None:
        renderer = CompletionLogProbs(frontend.tokenizer.token_bytes, top=request.logprobs > 0)
    parts = _Parts(COMPLETION, "cmpl-", prompts, prompts, count, keep, guide, renderer, tell_end=True, capped=capped)
    return _job(request, frontend, replace(parts, echoes=await echoes(request, prompts, frontend.tokenizer)))


def _check_completion(request: CompletionRequest, frontend: Frontend) -> None:
    if (request.logprobs or 0) > 1 and TOP_LOG_PROBS in frontend.context.lacks:
        raise unsupported("logprobs", "Only the sampled token's log probability is available: set logprobs to 0 or 1.")
    if request.echo and request.logprobs is not None:
        if PROMPT_LOG_PROBS in frontend.context.lacks:
            raise unsupported("echo", "Log probabilities of the prompt are not available; leave 'logprobs' out.")
        if request.suffix:
            raise invalid("The log probabilities of a prompt with 'suffix' are not available.", "suffix")
    if request.best_of is not None and request.best_of < (request.n or 1):
        raise invalid("'best_of' is less than 'n'.", "best_of")
    if request.best_of is not None and request.best_of > (request.n or 1) and request.stream:
        raise invalid("Which completions are best is known at the end: 'best_of' cannot be streamed.", "best_of")


def _job(request: Parameters, frontend: Frontend, parts: _Parts) -> Job:
    where = "messages" if isinstance(request, ChatRequest) else "prompt"
    for ids in (*parts.prompts, *([parts.budget.closing] if parts.budget else [])):
        check_embedded(ids, where, frontend)
    identity = Identity(parts.id_prefix + uuid.uuid4().hex, int(time.time()), request.model, frontend.fingerprint)
    request = with_defaults(request, frontend.context.defaults)
    ranked = parts.count > parts.keep
    log_probs = ranked or parts.log_probs is not None
    wanted = generations(
        request, identity.id, parts.prompts, frontend.context, parts.count, log_probs, parts.guide, capped=parts.capped
    )
    if adapter := frontend.adapters.named(request.model):
        wanted = [replace(each, adapter=adapter.adapter) for each in wanted]
    if top := _top_count(request, frontend):
        wanted = [replace(each, top_log_probs=top) for each in wanted]
    scored = _scored(request)
    if scored is not None:
        wanted = [replace(each, prompt_log_probs=scored) for each in wanted]
    options = request.stream_options
    return Job(
        shape=parts.shape,
        identity=identity,
        generations=wanted,
        choices=_choices(request, frontend, parts, wanted),
        prompt_tokens=sum(map(len, parts.prompts)),
        stream=bool(request.stream),
        with_usage=bool(options and options.include_usage),
        usage_always=bool(options and options.include_usage and options.continuous_usage_stats),
        log_probs=parts.log_probs,
        best=(parts.count, parts.keep) if ranked else None,
        scores=_score_renderer(request, frontend),
        scored=_score_count(wanted, where),
        budget=parts.budget,
        block_tokens=frontend.capacity.block_tokens,
        prompts=len(parts.prompts),
        writer=ChunkWriter,
    )


def _top_count(request: Parameters, frontend: Frontend) -> int:
    """How many of the likeliest tokens are to be told beside each."""
    if TOP_LOG_PROBS in frontend.context.lacks:
        return 0
    if isinstance(request, ChatRequest):
        return request.top_logprobs or 0
    return (request.logprobs or 0) if isinstance(request, CompletionRequest) else 0


def _scored(request: Parameters) -> int | None:
    """How many of the likeliest tokens are to be told beside each of the prompt; None for nothing of it."""
    echoed = isinstance(request, CompletionRequest) and bool(request.echo)
    requested = (
        request.prompt_logprobs,
        request.logprobs if echoed and isinstance(request, CompletionRequest) else None,
    )
    return max((each for each in requested if each is not None), default=None)


def _score_count(wanted: Sequence[Generation], where: str) -> int:
    """How many log probabilities of prompts are to be told. ApiError for too many."""
    entries = sum(
        len(each.input_ids) * (each.prompt_log_probs + 1) for each in wanted if each.prompt_log_probs is not None
    )
    if entries > MAX_SCORES:
        text = f"At most {MAX_SCORES} log probabilities of prompts' tokens are told in one answer, not {entries}."
        raise invalid(f"{text} Ask for fewer prompts, or fewer of the likeliest tokens.", where)
    return entries


def _score_renderer(request: Parameters, frontend: Frontend) -> PromptLogProbs | None:
    top = request.prompt_logprobs
    return None if top is None else PromptLogProbs(frontend.tokenizer.token_bytes, top)


def _choices(request: Parameters, frontend: Frontend, parts: _Parts, wanted: Sequence[Generation]) -> list[Choice]:
    stops = stop_strings(request)
    shown: Mapping[int, str] | None = frontend.shown if parts.parser or parts.guide else None  # text to a grammar
    if request.skip_special_tokens is False:
        shown = frontend.tokenizer.special_texts
    return [
        Choice(
            generation,
            Detokenizer(frontend.tokenizer, parts.contexts[index // parts.count], shown),
            stops,
            parts.parser() if parts.parser else None,
            parts.thinking() if parts.thinking else None,
            keep_stop=bool(request.include_stop_str_in_output),
            echo=parts.echoes[index // parts.count] if parts.echoes else None,
            tell_end=parts.tell_end,
        )
        for index, generation in enumerate(wanted)
    ]


def check_model(model: str, frontend: Frontend) -> None:
    """ApiError, 404, for a name that is not served."""
    if model not in frontend.names and model not in frontend.adapters:
        served = ", ".join([*frontend.names, *(each.name for each in frontend.adapters)][:50])
        text = f"The model '{model[:200]}' does not exist; served here: {served}."
        raise ApiError(404, text, param="model", code="model_not_found")
