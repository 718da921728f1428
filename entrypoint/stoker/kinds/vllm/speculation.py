"""Speculative decoding by vLLM: which methods a model has, and vLLM's arguments for them. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping

from stoker.kinds.vllm.runtime.process import DRAFT as DRAFT_FOLDER
from stoker.plan.speculation import DRAFT, EAGLE3, LOOKUP, MTP, OFF
from stoker.plan.types import Chosen

METHODS = (LOOKUP, DRAFT, EAGLE3, MTP)
GUESSES: Mapping[str, int] = {LOOKUP: 4, DRAFT: 4, EAGLE3: 3, MTP: 1}
FEW_STREAMS = 16  # sequences that run at once up to which guesses are worth their time
_NAMES = {LOOKUP: "ngram", DRAFT: "draft_model", EAGLE3: "eagle3", MTP: "mtp"}
_NGRAM = {"prompt_lookup_max": 4, "prompt_lookup_min": 2}
_HEADS = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers")


def heads_of(config: Mapping[str, object]) -> int:
    """Layers that the checkpoint has for predicting tokens beyond the next."""
    text = config.get("text_config")
    places = (config, text if isinstance(text, Mapping) else {})
    found = (place.get(name) for place in places for name in _HEADS)
    return next((value for value in found if isinstance(value, int) and value > 0), 0)


def why_not(method: str, config: Mapping[str, object], *, pooling: bool) -> str:
    """Empty where the method is there."""
    if pooling:
        return "the model generates no text"
    if method == MTP and not heads_of(config):
        return "the checkpoint has no layers that predict further tokens"
    return "" if method in METHODS else f"vLLM has no method {method} in Stoker"


def speculative_arguments(chosen: Chosen) -> dict[str, object]:
    """vLLM's `speculative_config`; empty without. Beyond a few sequences vLLM guesses nothing."""
    method = chosen.speculative
    if method == OFF:
        return {}
    own: dict[str, object] = {"method": _NAMES[method], "num_speculative_tokens": GUESSES[method]}
    if method == LOOKUP:
        own |= _NGRAM
    if chosen.draft:
        own["model"] = DRAFT_FOLDER
    if chosen.devices and chosen.max_batch_size > FEW_STREAMS:  # vLLM's runner for CPUs has no such schedule
        few, most = FEW_STREAMS, chosen.max_batch_size
        own["num_speculative_tokens_per_batch_size"] = [(1, few, GUESSES[method]), (few + 1, most, 0)]
    return {"speculative_config": own}
