"""A generation in the words of TensorRT-LLM's LLM API (SamplingParams, 1.2)."""

from __future__ import annotations

from stoker.kinds.tensorrt_llm.runtime.sampling import sampling_values
from stoker.launch.generation import Generation, Guide, RequestRefusedError


def sampling_arguments(generation: Generation) -> dict[str, object]:
    """The arguments of SamplingParams, without the guide.

    Without `detokenize` no text is made of the ids. The id that stops a sequence is part of its output here, for the
    API tells by it why the sequence ended; TensorRT-LLM leaves it out unless told otherwise.
    """
    return {
        "max_tokens": generation.max_tokens,
        "detokenize": False,
        "include_stop_str_in_output": True,
        "logprobs": 1 if generation.log_probs else None,
        "return_perf_metrics": generation.perf_metrics,
        **_ends(generation),
        **sampling_values(generation),
    }


# Guide types of the C++ backend's tensors, as GuidedDecodingParams calls them.
_GUIDES = {
    "json_schema": "json",
    "regex": "regex",
    "ebnf_grammar": "grammar",
    "structural_tag": "structural_tag",
}


def guide_arguments(guide: Guide) -> dict[str, object]:
    """The arguments of GuidedDecodingParams. RequestRefusedError for a type that it does not know."""
    if guide.kind == "json":
        return {"json_object": True}
    if guide.kind not in _GUIDES:
        why = f"it is one of {', '.join(['json', *_GUIDES])}"
        raise RequestRefusedError(f"guides of type {guide.kind!r} are not supported", why=why)
    return {_GUIDES[guide.kind]: guide.text}


def _ends(generation: Generation) -> dict[str, object]:
    """An unset `end_id` would be the tokenizer's, so that without an end it is set to one that there is not."""
    if not generation.end_ids:
        return {"end_id": -1, "pad_id": 0, "ignore_eos": True}
    first, *others = generation.end_ids
    return {"end_id": first, "pad_id": first, "stop_token_ids": others or None}
