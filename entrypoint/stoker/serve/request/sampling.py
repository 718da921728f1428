"""From a request's parameters to what the engine is asked for.

Where a parameter is absent, the model's own generation_config.json holds, as in transformers and vLLM; and OpenAI's
default (temperature 1, top_p 1, no penalties) where that says nothing, or is not asked (`--sampling-defaults openai`).
"""

from __future__ import annotations

import logging
import secrets
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from stoker.launch.capabilities import GUIDES
from stoker.launch.generation import Generation, Guide
from stoker.serve.http.errors import ApiError, ContextExceededError, invalid, unsupported
from stoker.serve.request.requests import ChatRequest, Parameters

# Below this, dividing logits by the temperature leaves only the greatest one, or overflows.
_GREEDY_BELOW = 1e-4
# The likeliest token alone is as likely as this, however large the vocabulary: no other is left.
_ONE_TOKEN_TOP_P = 1e-7
_SEEDS = 2**63
_NO_EFFECT = {
    "min_tokens": 0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "repetition_penalty": 1,
    "logit_bias": {},
    "prompt_logprobs": None,
    "min_p": 0,
}


logger = logging.getLogger(__name__)

_Request = TypeVar("_Request", bound=Parameters)


class Defaults(Struct, frozen=True, kw_only=True):
    """What of a generation_config.json holds where a request does not say."""

    temperature: Annotated[float, Meta(ge=0, le=100)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=100)] | None = None
    max_new_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None

    def given(self) -> dict[str, float]:
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}


OPENAI = Defaults()


def defaults_of(document: Mapping[str, object], lacks: frozenset[str]) -> Defaults:
    """Without what the engine cannot do. A value that cannot be is passed over, and logged."""
    found: dict[str, float] = {}
    for name in set(Defaults.__struct_fields__) & document.keys() - lacks:
        try:
            found |= msgspec.convert({name: document[name]}, Defaults).given()
        except msgspec.ValidationError as error:
            logger.warning("generation_config.json: %s is passed over: %s", name, error)
    return Defaults(**found)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Context:
    """`length` is what prompt and completion share, `longest_prompt` what of it a prompt may have (0: all).

    `end_ids` end a completion. `lacks`: parameters that the engine's kind cannot sample with. `tells_reuse`: whether
    it tells how much of a prompt it had in its cache. `logits`: how many ids the model gives probabilities for.
    `defaults`: the model's own.
    """

    length: int
    end_ids: tuple[int, ...]
    longest_prompt: int = 0
    lacks: frozenset[str] = frozenset()
    tells_reuse: bool = False
    logits: int = 0
    defaults: Defaults = OPENAI

    @property
    def longest_counted(self) -> int:
        """Tokens of a text that is only made into tokens, or counted."""
        return max(8 * self.length, 1 << 17)


def too_long(context: Context, source: str, what: str) -> ApiError:
    """`what` the parameter `source` is, where its tokens need not be counted to know that they are too many."""
    text = f"This model's maximum context length is {context.length} tokens. However, your {source} {what}."
    text = f"{text} Please reduce the length of the {source}."
    return ContextExceededError(text, source, None, context.length)


def requested_length(request: Parameters) -> int | None:
    """max_completion_tokens and its older name max_tokens; None where the context decides."""
    newer = request.max_completion_tokens if isinstance(request, ChatRequest) else None
    if newer is not None and request.max_tokens not in (None, newer):
        raise invalid("max_tokens and max_completion_tokens contradict each other.", "max_tokens")
    return request.max_tokens if newer is None else newer


def completion_length(request: Parameters, prompt_tokens: int, context: Context, *, capped: bool = False) -> int:
    """What the request asks for, or all that the context still holds. ApiError in OpenAI's words if it does not fit.

    `capped`: what it asks for is a limit, and may be more than the context holds.
    """
    requested = requested_length(request)
    if capped and requested is not None:
        requested = min(requested, max(context.length - prompt_tokens, 1))
    source, param = ("messages", "messages") if isinstance(request, ChatRequest) else ("prompt", "prompt")
    if context.longest_prompt and prompt_tokens > context.longest_prompt:
        text = f"Prompts may have {context.longest_prompt} tokens here; your {source} resulted in {prompt_tokens}."
        raise ContextExceededError(text, param, prompt_tokens, context.longest_prompt)
    limit = f"This model's maximum context length is {context.length} tokens. However, "
    if prompt_tokens >= context.length:
        text = f"{limit}your {source} resulted in {prompt_tokens} tokens. Please reduce the length of the {source}."
        raise ContextExceededError(text, param, prompt_tokens, context.length)
    if requested is not None and prompt_tokens + requested > context.length:
        text = (
            f"{limit}you requested {prompt_tokens + requested} tokens ({prompt_tokens} in the {source}, {requested} in "
            f"the completion). Please reduce the length of the {source} or completion."
        )
        raise ContextExceededError(text, param, None, context.length)
    room = min(context.length - prompt_tokens, context.defaults.max_new_tokens or context.length)
    length = room if requested is None else requested
    if (request.min_tokens or 0) > length:
        raise invalid(f"min_tokens is more than the {length} tokens of the completion.", "min_tokens")
    return length


def with_defaults(request: _Request, defaults: Defaults) -> _Request:
    """With what the model's own configuration says where the request does not."""
    missing = {name: value for name, value in defaults.given().items() if getattr(request, name, 0) is None}
    return msgspec.structs.replace(request, **missing) if missing else request


def generations(
    request: Parameters,
    request_id: str,
    prompts: Sequence[Sequence[int]],
    context: Context,
    count: int,
    log_probs: bool,
    guide: Guide | None = None,
    *,
    capped: bool = False,
) -> list[Generation]:
    """`count` for each prompt, in order, no two with the same seed."""
    _check_lacking(request, context)
    lengths = [completion_length(request, len(prompt), context, capped=capped) for prompt in prompts]
    seed = secrets.randbits(31) if request.seed is None else request.seed
    stops = _stop_ids(request, context)
    bias = embedding_bias(request.logit_bias or {}, context.logits)
    return [
        _generation(request, f"{request_id}-{index}", prompts[index // count], lengths[index // count], context,
                    stops, seed=(seed + index) % _SEEDS, log_probs=log_probs, guide=guide, bias=bias)
        for index in range(count * len(prompts))
    ]  # fmt: skip


def _generation(
    request: Parameters,
    request_id: str,
    prompt: Sequence[int],
    length: int,
    context: Context,
    stops: tuple[int, ...],
    *,
    seed: int,
    log_probs: bool,
    guide: Guide | None,
    bias: array[float] | None,
) -> Generation:
    return Generation(
        request_id=request_id,
        input_ids=prompt,
        max_tokens=length,
        end_ids=tuple(dict.fromkeys([*(() if request.ignore_eos else context.end_ids), *stops])),
        min_tokens=request.min_tokens or 0,
        temperature=_temperature(request),
        top_p=None if _one_token(request) else _unless(request.top_p, 1.0),
        top_k=request.top_k if (request.top_k or 0) > 0 else None,
        min_p=_unless(request.min_p, 0.0),
        seed=seed,
        presence_penalty=_unless(request.presence_penalty, 0.0),
        frequency_penalty=_unless(request.frequency_penalty, 0.0),
        repetition_penalty=_unless(request.repetition_penalty, 1.0),
        log_probs=log_probs,
        guide=guide,
        embedding_bias=bias,
        perf_metrics=context.tells_reuse,
    )


def _stop_ids(request: Parameters, context: Context) -> tuple[int, ...]:
    """Tokens that end an answer besides the model's own. ApiError naming the one that is no token's id."""
    for index, token_id in enumerate(request.stop_token_ids or ()):
        if not 0 <= token_id < context.logits:
            text = f"Token ids are 0 to {context.logits - 1}, not {token_id}."
            raise invalid(text[:200], f"stop_token_ids[{index}]")
    return tuple(request.stop_token_ids or ())


def keeps_end(request: Parameters) -> bool:
    """Whether the beginning of a long prompt is to be cut off."""
    return request.truncate_prompt_tokens is not None and request.truncation_side != "right"


def truncated(prompt: list[int], request: Parameters, context: Context) -> list[int]:
    """As vLLM has it: so many tokens of the prompt's end, or of its beginning; -1 for as many as there may be."""
    requested = request.truncate_prompt_tokens
    if requested is None:
        return prompt
    if requested == 0:
        raise invalid("No token would be left.", "truncate_prompt_tokens")
    room = context.length - (requested_length(request) or 1)
    most = min(room, context.longest_prompt or room) if requested < 0 else requested
    return prompt[:most] if request.truncation_side == "right" else prompt[-most:] if most > 0 else prompt


def _temperature(request: Parameters) -> float:
    """0 for greedy."""
    temperature = 1.0 if request.temperature is None else request.temperature
    return 0.0 if _one_token(request) or temperature < _GREEDY_BELOW else temperature


def _one_token(request: Parameters) -> bool:
    """Whether `top_p` leaves nothing but the likeliest token."""
    return request.top_p is not None and request.top_p <= _ONE_TOKEN_TOP_P


def embedding_bias(biases: Mapping[str, float | None], logits: int) -> array[float] | None:
    """What is added to each logit, f32; None for nothing. ApiError for what is no id of a token."""
    if not biases:
        return None
    added = array("f", bytes(4 * logits))
    for written, bias in biases.items():
        if not (written.isascii() and written.isdigit() and len(written) < 10 and int(written) < logits):
            text = f"The keys of 'logit_bias' are ids of tokens, 0 to {logits - 1}, not '{written[:40]}'."
            raise invalid(text, "logit_bias")
        added[int(written)] = bias or 0.0
    return added


def check_guides(param: str, context: Context) -> None:
    """ApiError where `param` asks for a form of the text and the engine cannot be held to one."""
    if GUIDES in context.lacks:
        text = "The engine that serves this model cannot be guided by a schema, grammar or choice; leave it out."
        raise unsupported(param, text)


def _check_lacking(request: Parameters, context: Context) -> None:
    """ApiError for a parameter that would change something, and that this engine would have to pass over."""
    for name in sorted(context.lacks & _NO_EFFECT.keys()):
        value = getattr(request, name)
        if value is not None and value != _NO_EFFECT[name]:
            raise unsupported(name, f"The engine that serves this model has no {name}; leave it out.")


def _unless(value: float | None, no_effect: float) -> float | None:
    """None for a value that changes nothing, so that the engine can take its shorter way."""
    return None if value == no_effect else value


def stop_strings(request: Parameters) -> tuple[str, ...]:
    if request.stop is None:
        return ()
    return (request.stop,) if isinstance(request.stop, str) else tuple(request.stop)
