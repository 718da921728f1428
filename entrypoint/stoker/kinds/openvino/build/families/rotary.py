"""The frequencies of rotary embeddings, from a config's rope settings. They are computed in double precision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from stoker.kinds.openvino.build.families.keys import names, unsupported
from stoker.kinds.openvino.build.families.spec import Rope
from stoker.resolve.numbers import CONFIG_FILE, bad_value, checked, real
from stoker.resolve.rope import RopeSettings

COMMON = frozenset({"rope_type", "type", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings"})
KEYS: Mapping[str, frozenset[str]] = {
    "default": frozenset(),
    "linear": frozenset({"factor"}),
    "llama3": frozenset({"factor", "low_freq_factor", "high_freq_factor"}),
    "yarn": names("factor attention_factor beta_fast beta_slow mscale mscale_all_dim truncate finetuned"),
    "longrope": frozenset({"factor", "attention_factor", "short_factor", "long_factor"}),
}
_LARGEST = 1e6


def rope(settings: RopeSettings, head_size: int) -> Rope:
    """Raises UnsupportedModelError and DamagedModelError."""
    _refuse_foreign(settings)
    size = int(head_size * settings.partial)
    if size < 2 or size % 2:
        raise unsupported("partial_rotary_factor", settings.partial, f"{size} rotary elements")
    base = [settings.theta ** (-i / size) for i in range(0, size, 2)]
    return _scaled(base, settings)


def _refuse_foreign(settings: RopeSettings) -> None:
    if settings.kind not in KEYS:
        raise unsupported("rope_type", settings.kind, f"known rope types: {', '.join(KEYS)}")
    for key, value in settings.given.items():
        if key not in COMMON | KEYS[settings.kind] and value is not None:
            raise unsupported(f"{settings.source}.{key}", value, f"it does not belong to rope type {settings.kind}")


def _scaled(base: list[float], settings: RopeSettings) -> Rope:
    if settings.kind == "linear":
        return Rope(tuple(frequency / _factor(settings) for frequency in base))
    if settings.kind == "llama3":
        return _llama3(base, settings)
    if settings.kind == "yarn":
        return _yarn(base, settings)
    if settings.kind == "longrope":
        return _longrope(base, settings)
    return Rope(tuple(base))


def _number(settings: RopeSettings, key: str, default: float | None = None, low: float = 0.0) -> float:
    return real(settings.given, f"{settings.source}.{key}", default, low=low, high=_LARGEST)


def _factor(settings: RopeSettings) -> float:
    return _number(settings, "factor")


def _llama3(base: Sequence[float], settings: RopeSettings) -> Rope:
    """Long waves are stretched, short ones kept, those between blended (Llama 3.1's `apply_scaling`)."""
    factor, low, high = (_number(settings, key) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    if high <= low:
        raise bad_value(CONFIG_FILE, f"{settings.source}.high_freq_factor", high, f"it must be above {low}")

    def stretched(frequency: float) -> float:
        turns = settings.original * frequency / (2 * math.pi)
        blend = min(max((turns - low) / (high - low), 0.0), 1.0)
        return (1 - blend) * frequency / factor + blend * frequency

    return Rope(tuple(map(stretched, base)))


def _yarn(base: Sequence[float], settings: RopeSettings) -> Rope:
    """YaRN (arXiv 2309.00071), sections 3.2 to 3.4, with DeepSeek's `mscale` pair."""
    factor = settings.factor
    low, high = _yarn_range(2 * len(base), settings)

    def blend(index: int, frequency: float) -> float:
        ramp = min(max((index - low) / (high - low), 0.0), 1.0)
        return frequency / factor * ramp + frequency * (1 - ramp)

    return Rope(tuple(blend(i, f) for i, f in enumerate(base)), _yarn_amplitude(settings))


def _yarn_range(size: int, settings: RopeSettings) -> tuple[float, float]:
    def dimension(rotations: float) -> float:
        return size * math.log(settings.original / (rotations * 2 * math.pi)) / (2 * math.log(settings.theta))

    low, high = (
        dimension(_rotations(settings, key, default)) for key, default in (("beta_fast", 32), ("beta_slow", 1))
    )
    if settings.given.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    return low, high if high != low else high + 0.001


def _rotations(settings: RopeSettings, key: str, default: float) -> float:
    """0 means the default, as in transformers."""
    return _number(settings, key) if settings.given.get(key) else default


def _yarn_amplitude(settings: RopeSettings) -> float:
    def magnitude(scale: float) -> float:
        return 1.0 if settings.factor <= 1 else 0.1 * scale * math.log(settings.factor) + 1.0

    if settings.given.get("attention_factor") is not None:
        return _number(settings, "attention_factor")
    if settings.given.get("mscale") and settings.given.get("mscale_all_dim"):
        return magnitude(_number(settings, "mscale")) / magnitude(_number(settings, "mscale_all_dim"))
    return magnitude(1.0)


def _longrope(base: Sequence[float], settings: RopeSettings) -> Rope:
    """LongRoPE (arXiv 2402.13753). The long factors are used when the context exceeds the original one."""
    factors = {key: _factors(settings, key, len(base)) for key in ("short_factor", "long_factor")}
    stretch = factors["long_factor" if settings.context > settings.original else "short_factor"]
    frequencies = tuple(frequency / factor for frequency, factor in zip(base, stretch, strict=True))
    return Rope(frequencies, _longrope_amplitude(settings))


def _factors(settings: RopeSettings, key: str, count: int) -> list[float]:
    name, given = f"{settings.source}.{key}", settings.given.get(key)
    if not isinstance(given, list) or len(given) != count:
        raise bad_value(CONFIG_FILE, name, given, f"it must be {count} numbers")
    return [checked(each, name, low=0.0, high=_LARGEST) for each in given]


def _longrope_amplitude(settings: RopeSettings) -> float:
    if settings.given.get("attention_factor") is not None:
        return _number(settings, "attention_factor")
    if settings.factor <= 1:
        return 1.0
    if settings.original < 2:
        raise bad_value(CONFIG_FILE, "original_max_position_embeddings", settings.original, "it must be above 1")
    return math.sqrt(1 + math.log(settings.factor) / math.log(settings.original))
