"""Dynamo's requests as ours: what its frontend's preprocessor made of an OpenAI request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from stoker.serve.http.errors import invalid, unsupported
from stoker.serve.request.requests import CompletionRequest

_SAMPLING = (
    *("temperature", "top_p", "top_k", "min_p", "seed"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty", "length_penalty", "use_beam_search"),
    *("logit_bias", "best_of"),
)
_STOPPING = ("max_tokens", "min_tokens", "ignore_eos")  # Dynamo applies stop strings itself
_GUIDES = ("json", "regex", "choice", "grammar")
_REFUSED = ("multi_modal_data", "prefill_result", "prompt_embeds", "encoder_result")


def completion_of(request: Mapping[str, Any], model: str) -> CompletionRequest:
    """ApiError, 400, for what the engine cannot follow."""
    for name in _REFUSED:
        if request.get(name):
            raise unsupported(name)
    sampling, stopping = _part(request, "sampling_options"), _part(request, "stop_conditions")
    output = _part(request, "output_options")
    if sampling.get("n", 1) != 1:
        raise unsupported("n", "'n' must be 1: Dynamo's frontend ends all choices with the first that ends.")
    body = {
        **{name: sampling[name] for name in _SAMPLING if name in sampling},
        **{name: stopping[name] for name in _STOPPING if name in stopping},
        **_guide(sampling.get("guided_decoding")),
        "stop_token_ids": _stop_ids(stopping),
        "logprobs": output.get("logprobs"),
        "prompt_logprobs": output.get("prompt_logprobs"),
        "prompt": list(request["token_ids"]),
        "model": model,
    }
    try:
        return msgspec.convert({name: value for name, value in body.items() if value is not None}, CompletionRequest)
    except msgspec.ValidationError as error:
        raise invalid(str(error)[:300]) from error


def _part(request: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Without what is null."""
    return {key: value for key, value in (request.get(name) or {}).items() if value is not None}


def _stop_ids(stopping: Mapping[str, Any]) -> list[int] | None:
    hidden, shown = stopping.get("stop_token_ids_hidden") or (), stopping.get("stop_token_ids") or ()
    return list(dict.fromkeys((*hidden, *shown))) or None


def _guide(wanted: Mapping[str, object] | None) -> dict[str, object]:
    if not wanted:
        return {}
    if wanted.get("structural_tag"):
        raise unsupported("guided_decoding.structural_tag")
    return {f"guided_{name}": wanted[name] for name in _GUIDES if wanted.get(name) is not None}
