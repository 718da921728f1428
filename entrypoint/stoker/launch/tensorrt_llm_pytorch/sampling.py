"""A generation in the words of TensorRT-LLM's LLM API (SamplingParams, 1.2)."""

from __future__ import annotations

import random
from typing import Any

from stoker.launch.generation import Generation

_SEED_BITS = 63


def sampling_arguments(generation: Generation) -> dict[str, Any]:
    """The arguments of SamplingParams, but for the guide. Only what is wished: None is the runtime's default.

    Without `detokenize` no text is made of the ids. The id that stops a sequence is part of its output here, for the
    API tells by it why the sequence ended; TensorRT-LLM leaves it out unless told otherwise.
    """
    return {
        "max_tokens": generation.max_tokens,
        "detokenize": False,
        "include_stop_str_in_output": True,
        "logprobs": 1 if generation.log_probs else None,
        "repetition_penalty": generation.repetition_penalty,
        "presence_penalty": generation.presence_penalty,
        "frequency_penalty": generation.frequency_penalty,
        **_ends(generation),
        **(_random(generation) if generation.temperature > 0 else {"top_k": 1}),
    }


def _ends(generation: Generation) -> dict[str, Any]:
    """An unset `end_id` would be the tokenizer's, so that without an end it is set to none there is."""
    if not generation.end_ids:
        return {"end_id": -1, "pad_id": 0, "ignore_eos": True}
    first, *others = generation.end_ids
    return {
        "end_id": first,
        "pad_id": first,
        "stop_token_ids": others or None,
        "min_tokens": generation.min_tokens or None,
    }


def _random(generation: Generation) -> dict[str, Any]:
    """An unset seed is drawn here: the runtime's own default is the same for every request."""
    return {
        "temperature": generation.temperature,
        "top_p": generation.top_p,
        "top_k": generation.top_k,
        "min_p": generation.min_p,
        "seed": random.getrandbits(_SEED_BITS) if generation.seed is None else generation.seed,
    }
