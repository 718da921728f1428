"""The body of a request as vLLM has it, and what it means."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from stoker.serve.http.errors import ApiError, invalid, unsupported
from stoker.serve.operate.frontend import Frontend
from stoker.serve.request.requests import CompletionRequest, StreamOptions, StructuredOutputs

_PASSED_ON = (
    *("n", "temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty"),
    *("repetition_penalty", "max_tokens", "min_tokens", "ignore_eos", "stop_token_ids", "logprobs", "logit_bias"),
    *("structured_outputs", "bad_words", "allowed_token_ids"),
)


class SamplingParams(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Ranges are those of /v1/completions, whose parameters these become."""

    n: object = None
    temperature: object = None
    top_p: object = None
    top_k: object = None
    min_p: object = None
    seed: object = None
    presence_penalty: object = None
    frequency_penalty: object = None
    repetition_penalty: object = None
    max_tokens: object = None
    min_tokens: object = None
    ignore_eos: object = None
    stop_token_ids: object = None
    logprobs: object = None
    logit_bias: object = None
    structured_outputs: StructuredOutputs | None = None
    bad_words: object = None
    allowed_token_ids: object = None
    # not supported
    stop: object = None
    prompt_logprobs: object = None
    # change nothing
    detokenize: object = None
    skip_special_tokens: object = None
    spaces_between_special_tokens: object = None
    include_stop_str_in_output: object = None
    output_kind: object = None


class TokensRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    token_ids: Annotated[list[int], Meta(min_length=1)]
    sampling_params: SamplingParams = SamplingParams()
    model: str | None = None
    request_id: Annotated[str, Meta(max_length=256)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    return_token_ids: bool | None = None
    # change nothing
    priority: object = None
    token_offsets: object = None
    reasoning_ended: object = None
    # not supported
    output_mode: str | None = None
    features: object = None
    content_parts: object = None
    cache_salt: object = None
    kv_transfer_params: object = None
    ec_transfer_params: object = None


_REFUSED = ("features", "content_parts", "cache_salt", "kv_transfer_params", "ec_transfer_params")


def completion_of(request: TokensRequest, frontend: Frontend) -> CompletionRequest:
    """ApiError, 400, naming what cannot be followed."""
    for name in _REFUSED:
        if getattr(request, name):
            raise unsupported(name)
    if request.output_mode not in (None, "tokens"):
        raise unsupported("output_mode", "Only output_mode 'tokens' is supported; /v1/completions gives text.")
    wanted = request.sampling_params
    if wanted.stop:
        raise unsupported("sampling_params.stop", "Stop strings need text; use stop_token_ids.")
    if wanted.prompt_logprobs is not None:
        raise unsupported("sampling_params.prompt_logprobs")
    given = {name: getattr(wanted, name) for name in _PASSED_ON}
    body = {
        **{name: value for name, value in given.items() if value is not None},
        "prompt": request.token_ids,
        "model": frontend.names[0] if request.model is None else request.model,
    }
    try:
        return msgspec.convert(body, CompletionRequest, from_attributes=True)
    except msgspec.ValidationError as error:
        raise _named(str(error)) from error


def _named(complaint: str) -> ApiError:
    """With the parameter's name as the request has it."""
    text, _, where = complaint.partition(" - at `$.")
    param = f"sampling_params.{where.rstrip('`')}" if where else None
    return invalid(f"Invalid '{param}': {text}." if param else text, param)
