"""A config.json as transformers 4 reads it, which knows no `rope_parameters` and would silently rotate by its defaults.

TensorRT-LLM 1.2.1 is pinned to transformers 4.57.3.
"""

from __future__ import annotations

from collections.abc import Mapping

from stoker.resolve.facts import architecture_name, text_config
from stoker.resolve.rope import EVERY_LAYER, FULL, SLIDING, Config, RopeSettings, rope_settings

_PHI = "Phi3ForCausalLM"
_GEMMA_3 = ("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration")
_PHI_KEYS = ("short_factor", "long_factor")  # all that its older form may have
_MOVED = ("rope_type", "type", "rope_theta", "partial_rotary_factor")


def in_older_form(config: Config) -> Config:
    """The same object where nothing is to be changed. Raises DamagedModelError."""
    if not text_config(config).get("rope_parameters"):
        return config
    rope = _older_rope(config)
    if not rope:  # of an architecture that transformers 4 has no such form for
        return config
    nested = config.get("text_config")
    if isinstance(nested, Mapping):
        return {**config, "text_config": {**_without(nested), **rope}}
    return {**_without(config), **rope}


def _without(config: Config) -> Config:
    return {key: value for key, value in config.items() if key != "rope_parameters"}


def _older_rope(config: Config) -> dict[str, object]:
    ropes = rope_settings(config)
    if EVERY_LAYER in ropes:
        return _older(ropes[EVERY_LAYER], phi=architecture_name(config) == _PHI)
    if architecture_name(config) in _GEMMA_3:
        return {**_older(ropes[FULL]), "rope_local_base_freq": ropes[SLIDING].theta}
    return {}


def _older(rope: RopeSettings, *, phi: bool = False) -> dict[str, object]:
    given = {key: value for key, value in rope.given.items() if key not in _MOVED and (not phi or key in _PHI_KEYS)}
    scaling = None if rope.kind == "default" else {"type" if phi else "rope_type": rope.kind, **given}
    partial = {} if rope.partial == 1 else {"partial_rotary_factor": rope.partial}
    original = {"original_max_position_embeddings": rope.original} if phi and scaling else {}
    return {"rope_theta": rope.theta, "rope_scaling": scaling, **partial, **original}
