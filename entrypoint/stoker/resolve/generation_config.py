"""generation_config.json: what the libraries that run an engine read of it, checked before anything is built.

Engines read the file while they load, and would fail there without naming it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stoker.resolve.json_files import read_optional_json
from stoker.resolve.numbers import LARGEST, bad_value, checked

FILE = "generation_config.json"

_IDS = ("eos_token_id", "bos_token_id", "pad_token_id", "decoder_start_token_id")
_NUMBERS = (
    *("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "repetition_penalty"),
    *("encoder_repetition_penalty", "length_penalty", "diversity_penalty", "presence_penalty", "frequency_penalty"),
    *("max_length", "max_new_tokens", "min_length", "min_new_tokens", "no_repeat_ngram_size", "num_beams"),
    *("num_beam_groups", "num_return_sequences", "guidance_scale", "num_assistant_tokens"),
)
_FLAGS = ("do_sample", "use_cache", "renormalize_logits", "remove_invalid_values", "ignore_eos")


def check_generation_config(directory: Path) -> None:
    """Raises DamagedModelError that names the key whose value is of the wrong type."""
    settings = read_optional_json(directory / FILE) or {}
    check_token_settings(settings, FILE)
    for key in _NUMBERS:
        if settings.get(key) is not None:
            checked(settings[key], key, file=FILE)
    for key in _FLAGS:
        if not isinstance(settings.get(key, False), bool | None):
            raise bad_value(FILE, key, settings[key], "it must be true or false")


def check_token_settings(settings: Mapping[str, object], file: str) -> None:
    """The ids of control tokens, which config.json may have too: one, a list or null."""
    for key in _IDS:
        value = settings.get(key)
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(id_) is int and -LARGEST <= id_ <= LARGEST for id_ in ids):
            raise bad_value(file, key, value, "it must be a token id, or a list of them")
