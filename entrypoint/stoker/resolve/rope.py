"""Rotary embeddings as a config.json describes them: the one reading that the planner and the graph builder share.

It follows transformers 5.24 (`PreTrainedConfig.convert_rope_params_to_dict` and
`RotaryEmbeddingConfigMixin.standardize_rope_params`, with the versions of their own that Phi 3, Gemma 3 and OLMo 3
have): `rope_scaling` wins over `rope_parameters` where both are given, and `rope_theta` beside them counts only where
the winner has none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

from stoker.resolve.facts import text_config
from stoker.resolve.numbers import CONFIG_FILE, LARGEST, bad_value, real, whole

Config = Mapping[str, object]

EVERY_LAYER = ""
FULL, SLIDING = "full_attention", "sliding_attention"

_SCALING, _PARAMETERS, _ORIGINAL = "rope_scaling", "rope_parameters", "original_max_position_embeddings"
_SAME_FOR_EVERY_CONTEXT = frozenset({"default", "linear", "llama3", "yarn"})
_SCALED_FROM_ORIGINAL = ("llama3", "yarn", "longrope")
_DEFAULT_THETA = 10_000.0
_THETAS: Mapping[str, float] = {"MixtralForCausalLM": 1e6, "SmolLM3ForCausalLM": 2e6}
_Thetas = Mapping[str, tuple[str, float]]
_GEMMA_3: _Thetas = {FULL: ("rope_theta", 1e6), SLIDING: ("rope_local_base_freq", _DEFAULT_THETA)}
_OLMO_3: _Thetas = {FULL: ("rope_theta", 5e5), SLIDING: ("", 5e5)}
_THETAS_BY_LAYER: Mapping[str, _Thetas] = {
    "Gemma3ForCausalLM": _GEMMA_3,
    "Gemma3ForConditionalGeneration": _GEMMA_3,
    "Olmo3ForCausalLM": _OLMO_3,
}
"""Of the architectures with one rope for each type of layer: the key that has its theta, and what a missing one means.

No key beside `rope_parameters` has the theta of OLMo 3's sliding layers: transformers takes 500000 for them, whatever
`rope_theta` says.
"""
_PHI_ORIGINAL, _UNSTATED_CONTEXT = 4096, 2048
_LARGEST_FACTOR = 1e6


@dataclass(frozen=True)
class RopeSettings:
    """`kind` is transformers' rope type. `partial` is the share of a head that is rotated. `original` is the context
    that the model was trained for before scaling, in tokens, and `factor` what it was scaled by, from the ratio of the
    two contexts where the config has none. `given` has every key of the config's object `source`.

    `context`, in tokens, is the longest sequence to be served, of kinds whose frequencies may depend on it, and else 0.
    What is built from these settings is the same for every context that gives the same settings, so that
    `rope_digest` can stand for it in an engine's key.
    """

    kind: str
    theta: float
    partial: float
    original: int
    factor: float
    given: Config
    source: str
    context: int

    @property
    def longest(self) -> int:
        """The context that yarn reaches, in tokens; 0 for other kinds, whose `max_position_embeddings` says it."""
        return int(self.original * self.factor) if self.kind == "yarn" else 0


def rope_settings(config: Config, context: int = 0) -> Mapping[str, RopeSettings]:
    """By layer type, or under EVERY_LAYER where all layers share one. Raises DamagedModelError that names the key."""
    text = {"architectures": config.get("architectures"), **_set(text_config(config))}
    ropes = _READERS.get(_architecture(text), _shared)(text)
    return {layer: replace(rope, context=_context(rope, context)) for layer, rope in ropes.items()}


def _context(rope: RopeSettings, context: int) -> int:
    return 0 if rope.kind in _SAME_FOR_EVERY_CONTEXT else context


def rope_digest(config: Config, context: int) -> str:
    """Differs wherever `rope_settings` does."""
    settings = {layer: asdict(rope) for layer, rope in rope_settings(config, context).items()}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def longest_context(config: Config, stated: int) -> int:
    """The longest context in tokens: what the config states, or further where yarn stretches it."""
    ropes = rope_settings(config)
    wanted = [ropes[FULL]] if FULL in ropes else list(ropes.values())
    return max([stated, *(rope.longest for rope in wanted)])


def _architecture(config: Config) -> str:
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def _shared(config: Config) -> Mapping[str, RopeSettings]:
    source, given = _chosen(config)
    layers = {key: value for key, value in given.items() if isinstance(value, Mapping)}
    if layers:
        return {key: _settings(_set(value), config, f"{source}.{key}") for key, value in layers.items()}
    return {EVERY_LAYER: _settings(given, config, source)}


def _chosen(config: Config) -> tuple[str, Config]:
    """As transformers: `rope_scaling` unless it is empty or absent, else `rope_parameters`."""
    if scaling := _object(config, _SCALING):
        return _SCALING, scaling
    return _PARAMETERS, _object(config, _PARAMETERS)


def _object(config: Config, key: str, file: str = CONFIG_FILE) -> Config:
    value = config.get(key)
    if not value:
        return {}
    if not isinstance(value, Mapping):
        raise bad_value(file, key, value, "it must be an object")
    return _set(value)


def _phi(config: Config) -> Mapping[str, RopeSettings]:
    """Early configs call longrope "su" or "yarn"; the original context beside them counts, and has a default."""
    source, given = _chosen(config)
    if _kind(given, source) in ("su", "yarn"):
        given = {**given, "rope_type": "longrope"}
    return {EVERY_LAYER: _settings(given, {_ORIGINAL: _PHI_ORIGINAL, **config}, source)}


def _by_layer(config: Config) -> Mapping[str, RopeSettings]:
    """An object for each type of layer; `rope_scaling` adds to that of full attention only.

    transformers 5.5 saved a flat `rope_type` and `rope_theta` beside the two, which mean nothing.
    """
    layers = _object(config, _PARAMETERS)
    _refuse_flat(layers)
    inner = {"rope_type": "default"} if config.get(_PARAMETERS) is None else {}
    full = {**inner, **_object(layers, FULL), **_object(config, _SCALING)}
    given = {FULL: full, SLIDING: _object(layers, SLIDING)}
    return {name: _layer(name, given[name], config) for name in (FULL, SLIDING)}


def _refuse_flat(layers: Config) -> None:
    """Raises DamagedModelError where something beside the layers' objects would have to be ignored."""
    flat = {key: value for key, value in layers.items() if key not in (FULL, SLIDING)}
    meaningless = flat.get("rope_type", "default") == "default" and set(flat) <= {"rope_type", "rope_theta"}
    if not meaningless or ("rope_theta" in flat and not {FULL, SLIDING} <= set(layers)):
        raise bad_value(CONFIG_FILE, _PARAMETERS, flat, f"it must be under {FULL} or {SLIDING}")


def _layer(name: str, given: Config, config: Config) -> RopeSettings:
    theta_key, default = _THETAS_BY_LAYER[_architecture(config)][name]
    theta = config.get(theta_key, default) if theta_key else default
    layer = {key: value for key, value in given.items() if key != "truncate"}  # transformers reads it one level up
    beside = {key: config[key] for key in ("architectures", "max_position_embeddings") if key in config}
    return _settings(layer, {**beside, "rope_theta": theta}, f"{_PARAMETERS}.{name}")


def _settings(given: Config, config: Config, source: str) -> RopeSettings:
    kind = _kind(given, source)
    default = _THETAS.get(_architecture(config), _DEFAULT_THETA)
    original = _original(kind, given, config, source)
    return RopeSettings(
        kind=kind,
        theta=_number("rope_theta", given, config, source, default, low=1.0),
        partial=_number("partial_rotary_factor", given, config, source, 1.0, low=0.0, high=1.0),
        original=original,
        factor=_factor(kind, given, config, original, source),
        given=given,
        source=source,
        context=0,
    )


def _kind(given: Config, source: str) -> str:
    kind = given.get("rope_type") or given.get("type") or "default"
    if not isinstance(kind, str):
        raise bad_value(CONFIG_FILE, f"{source}.rope_type", kind, "it must be a text")
    return kind


def _number(
    key: str, given: Config, config: Config, source: str, default: float, *, low: float, high: float = 1e12
) -> float:
    if key in given:
        return real(given, f"{source}.{key}", low=low, high=high)
    return real(config, key, default, low=low, high=high)


def _original(kind: str, given: Config, config: Config, source: str) -> int:
    if kind not in _SCALED_FROM_ORIGINAL or (_ORIGINAL not in given and _ORIGINAL not in config):
        return whole(config, "max_position_embeddings", _UNSTATED_CONTEXT)
    if _ORIGINAL in config:
        return whole(config, _ORIGINAL)
    return whole(given, f"{source}.{_ORIGINAL}")


def _factor(kind: str, given: Config, config: Config, original: int, source: str) -> float:
    if "factor" in given:
        factor = real(given, f"{source}.factor", low=0.0, high=_LARGEST_FACTOR)
    else:
        factor = whole(config, "max_position_embeddings", original) / original
    if kind == "yarn" and original * factor > LARGEST:
        raise bad_value(CONFIG_FILE, f"{source}.factor", factor, f"{original:,} tokens cannot be scaled by it")
    return factor


def _set(config: Config) -> dict[str, object]:
    """Null counts as absent."""
    return {key: value for key, value in config.items() if value is not None}


_READERS: Mapping[str, Callable[[Config], Mapping[str, RopeSettings]]] = {
    "Phi3ForCausalLM": _phi,
    **dict.fromkeys(_THETAS_BY_LAYER, _by_layer),
}
