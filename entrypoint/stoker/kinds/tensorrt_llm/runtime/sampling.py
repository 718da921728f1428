"""How a generation is sampled, in the words of TensorRT-LLM (SamplingConfig and SamplingParams have the same)."""

from __future__ import annotations

import random

from stoker.launch.generation import Generation

_SEED_BITS = 63


def sampling_values(generation: Generation) -> dict[str, object]:
    """Only what is requested: None is the runtime's default. Greedy is to choose among one.

    An unset seed is drawn here, since the runtime's own default is the same for every request.
    """
    penalties = {
        "repetition_penalty": generation.repetition_penalty,
        "presence_penalty": generation.presence_penalty,
        "frequency_penalty": generation.frequency_penalty,
        "min_tokens": (generation.min_tokens or None) if generation.end_ids else None,
    }
    if generation.temperature <= 0:
        return {**penalties, "top_k": 1}
    return {
        **penalties,
        "temperature": generation.temperature,
        "top_p": generation.top_p,
        "top_k": generation.top_k,
        "min_p": generation.min_p,
        "seed": random.getrandbits(_SEED_BITS) if generation.seed is None else generation.seed,
    }


def with_end(generation: Generation, ids: list[int], log_probs: list[float], end: int | None) -> None:
    """Puts the id that ended a sequence behind its last ones, where the runtime has left that out.

    The API tells by it why the sequence ended. `end` is that id as the runtime says it, None where it does not.
    """
    if ids and ids[-1] in generation.end_ids:
        return
    ids.append(generation.end_ids[0] if end is None else end)
    if generation.log_probs:
        log_probs.append(0.0)
