"""Rotary embeddings from a config, in both of its forms: `rope_scaling` with `rope_theta` beside it (transformers 4),
and `rope_parameters` (transformers 5). The frequencies are computed in double precision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stoker.errors import DamagedModelError
from stoker.kinds.openvino.build.families.keys import names, number, positive, unsupported
from stoker.kinds.openvino.build.families.spec import Rope

COMMON = frozenset({"rope_type", "type", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings"})
KEYS: Mapping[str, frozenset[str]] = {
    "default": frozenset(),
    "linear": frozenset({"factor"}),
    "llama3": frozenset({"factor", "low_freq_factor", "high_freq_factor"}),
    "yarn": names("factor attention_factor beta_fast beta_slow mscale mscale_all_dim truncate finetuned"),
    "longrope": frozenset({"factor", "attention_factor", "short_factor", "long_factor"}),
}


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The flat rope settings of a config: `rope_type`, `rope_theta` and whatever belongs to the type."""
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(given, Mapping):
        raise DamagedModelError("config.json: rope_scaling must be an object", why=f"it is {given!r}")
    return complete(given, config)


def complete(given: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with the keys that may stand beside it in the config."""
    result = dict(given)
    result["rope_type"] = given.get("rope_type") or given.get("type") or "default"
    for key, default in (("rope_theta", 10000.0), ("partial_rotary_factor", 1.0)):
        if result.get(key) is None:
            result[key] = config[key] if config.get(key) is not None else default
    if result["rope_type"] in ("llama3", "yarn", "longrope"):
        original = config.get("original_max_position_embeddings") or result.get("original_max_position_embeddings")
        result["original_max_position_embeddings"] = original or positive(config, "max_position_embeddings")
    return result


def rope(rope_settings: Mapping[str, Any], config: Mapping[str, Any], head_size: int, context: int) -> Rope:
    """`context` is the longest sequence that the engine will serve, in tokens; only longrope depends on it."""
    kind = rope_settings["rope_type"]
    if kind not in KEYS:
        raise unsupported("rope_type", kind, f"known rope types: {', '.join(KEYS)}")
    for key, value in rope_settings.items():
        if key not in COMMON | KEYS[kind] and value is not None:
            raise unsupported(f"rope_scaling.{key}", value, f"it does not belong to rope type {kind}")
    size = int(head_size * number(rope_settings, "partial_rotary_factor"))
    if size < 2 or size % 2:
        raise unsupported("partial_rotary_factor", rope_settings["partial_rotary_factor"], f"{size} rotary elements")
    theta = number(rope_settings, "rope_theta")
    base = [theta ** (-i / size) for i in range(0, size, 2)]
    return _scaled(kind, base, theta, rope_settings, config, context)


def _scaled(
    kind: str, base: list[float], theta: float, given: Mapping[str, Any], config: Mapping[str, Any], context: int
) -> Rope:
    if kind == "linear":
        factor = number(given, "factor")
        return Rope(tuple(frequency / factor for frequency in base))
    if kind == "llama3":
        return Rope(tuple(_llama3(frequency, given) for frequency in base))
    if kind == "yarn":
        return _yarn(base, theta, given, config)
    if kind == "longrope":
        return _longrope(base, given, config, context)
    return Rope(tuple(base))


def _llama3(frequency: float, given: Mapping[str, Any]) -> float:
    """Long waves are stretched, short ones kept, those between blended (Llama 3.1's `apply_scaling`)."""
    factor, low, high = (number(given, key) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    turns = positive(given, "original_max_position_embeddings") * frequency / (2 * math.pi)
    if turns > high:
        return frequency
    if turns < low:
        return frequency / factor
    blend = (turns - low) / (high - low)
    return (1 - blend) * frequency / factor + blend * frequency


def _yarn(base: Sequence[float], theta: float, given: Mapping[str, Any], config: Mapping[str, Any]) -> Rope:
    """YaRN (arXiv 2309.00071), sections 3.2 to 3.4, with DeepSeek's `mscale` pair."""
    original = positive(given, "original_max_position_embeddings")
    factor = _factor(given, config, original)
    low, high = _yarn_range(2 * len(base), theta, original, given)

    def blend(index: int, frequency: float) -> float:
        ramp = min(max((index - low) / (high - low), 0.0), 1.0)
        return frequency / factor * ramp + frequency * (1 - ramp)

    return Rope(tuple(blend(i, f) for i, f in enumerate(base)), _yarn_amplitude(factor, given))


def _yarn_range(size: int, theta: float, original: int, given: Mapping[str, Any]) -> tuple[float, float]:
    def dimension(rotations: float) -> float:
        return size * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension(given.get("beta_fast") or 32), dimension(given.get("beta_slow") or 1)
    if given.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    return low, high if high != low else high + 0.001


def _yarn_amplitude(factor: float, given: Mapping[str, Any]) -> float:
    def magnitude(scale: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0

    if given.get("attention_factor") is not None:
        return number(given, "attention_factor")
    if given.get("mscale") and given.get("mscale_all_dim"):
        return magnitude(number(given, "mscale")) / magnitude(number(given, "mscale_all_dim"))
    return magnitude(1.0)


def _longrope(base: Sequence[float], given: Mapping[str, Any], config: Mapping[str, Any], context: int) -> Rope:
    """LongRoPE (arXiv 2402.13753). The long factors are used when `context` exceeds the original context."""
    original = positive(given, "original_max_position_embeddings")
    chosen = "long_factor" if context > original else "short_factor"
    stretch = given.get(chosen)
    if not isinstance(stretch, Sequence) or len(stretch) != len(base):
        raise DamagedModelError(f"config.json: rope_scaling.{chosen} must be {len(base)} numbers", why=f"{stretch!r}")
    frequencies = tuple(frequency / float(factor) for frequency, factor in zip(base, stretch, strict=True))
    return Rope(frequencies, _longrope_amplitude(_factor(given, config, original), original, given))


def _longrope_amplitude(factor: float, original: int, given: Mapping[str, Any]) -> float:
    if given.get("attention_factor") is not None:
        return number(given, "attention_factor")
    return 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))


def _factor(given: Mapping[str, Any], config: Mapping[str, Any], original: int) -> float:
    if given.get("factor") is not None:
        return number(given, "factor")
    return positive(config, "max_position_embeddings") / original
