"""Names by which people call models elsewhere, and the repositories that they mean: for suggestions only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

_WELL_KNOWN: Mapping[str, str] = {
    "llama3": "meta-llama/Meta-Llama-3-8B-Instruct",
    "llama3.1": "meta-llama/Llama-3.1-8B-Instruct",
    "llama3.2": "meta-llama/Llama-3.2-3B-Instruct",
    "llama3.3": "meta-llama/Llama-3.3-70B-Instruct",
    "tinyllama": "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
    "qwen2.5": "Qwen/Qwen2.5-7B-Instruct",
    "qwen3": "Qwen/Qwen3-8B",
    "gemma2": "google/gemma-2-9b-it",
    "gemma3": "google/gemma-3-1b-it",
    "mistral": "mistralai/Mistral-7B-Instruct-v0.3",
    "mixtral": "mistralai/Mixtral-8x7B-Instruct-v0.1",
    "phi3": "microsoft/Phi-3-mini-4k-instruct",
    "phi4": "microsoft/phi-4",
    "smollm2": "HuggingFaceTB/SmolLM2-1.7B-Instruct",
    "smollm3": "HuggingFaceTB/SmolLM3-3B",
    "olmo2": "allenai/OLMo-2-1124-7B-Instruct",
    "olmo3": "allenai/Olmo-3-7B-Instruct",
    "granite3.1": "ibm-granite/granite-3.1-2b-instruct",
    "bge-small": "BAAI/bge-small-en-v1.5",
}


def probably_meant(name: str, kept: Iterable[str] = ()) -> str:
    """A repository whose name is near, those of the cache first; empty where none is. `name` has no revision."""
    kept = list(kept)
    for known in (kept, list(_WELL_KNOWN.values())):
        short = {each.rpartition("/")[2].lower(): each for each in known}
        whole = {each.lower(): each for each in known}
        if close := get_close_matches(name.lower(), [*whole, *short], n=1, cutoff=0.75):
            found = {**short, **whole}[close[0]]
            return "" if found == name else found
    family = re.sub(r"[:@].*|[-_ ]", "", name.rpartition("/")[2].lower())
    close = get_close_matches(family, _WELL_KNOWN, n=1, cutoff=0.75)
    return _WELL_KNOWN[close[0]] if close else ""
