"""From a checkpoint's config.json to the facts that the planner needs.

The defaults of omitted keys and the rules of sliding windows are those of the configuration classes of Hugging Face
transformers (`models/<model_type>/configuration_<model_type>.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from stoker.errors import DamagedModelError
from stoker.resolve.model import Architecture, Quantization
from stoker.resolve.numbers import CONFIG_FILE, bad_value, whole

Config = Mapping[str, object]

# What published checkpoints of these families leave out of config.json.
_GEMMA: Config = {"head_dim": 256, "tie_word_embeddings": True}
_GEMMA3_TEXT: Config = {
    **_GEMMA,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 262_208,
    "max_position_embeddings": 131_072,
    "sliding_window": 4096,
}
DEFAULTS: Mapping[str, Config] = {
    "gemma": _GEMMA,
    "gemma2": {**_GEMMA, "sliding_window": 4096},
    "gemma3_text": _GEMMA3_TEXT,
    "olmo3": {"sliding_window": 4096},
    "qwen3": {"head_dim": 128},
    "seed_oss": {"attention_bias": True},
    "smollm3": {"tie_word_embeddings": True},
}

# One layer in so many attends to everything, the others through the window.
_WINDOW_PATTERN: Mapping[str, int] = {"gemma2": 2, "gemma3_text": 6, "olmo3": 4}
_WINDOWED_EVERYWHERE = frozenset({"mistral", "mixtral", "phi3"})
_WINDOWED_ON_REQUEST = frozenset({"qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "smollm3"})


def text_config(config: Config) -> Config:
    """The language model's part: checkpoints that also see keep it under `text_config`, some heads that guess tokens
    under `transformer_layer_config`."""
    nested = config.get("text_config") or config.get("transformer_layer_config")
    if not isinstance(nested, Mapping):
        return config
    tied = {"tie_word_embeddings": config["tie_word_embeddings"]} if "tie_word_embeddings" in config else {}
    return {**tied, **nested}


def architecture_facts(config: Config) -> Architecture:
    """Raises DamagedModelError that names the key where a needed number is missing or makes no sense."""
    text = with_defaults(config)
    heads = number(text, "num_attention_heads")
    kv_heads = number(text, "num_key_value_heads", heads)
    if heads % kv_heads:
        raise _bad_config("num_key_value_heads", f"is {kv_heads}, which does not divide {heads} attention heads")
    layers = number(text, "num_hidden_layers")
    window, windowed_layers = sliding_window(text, layers)
    experts = _experts(text)
    return Architecture(
        name=architecture_name(config),
        model_type=str(text.get("model_type", "")),
        layers=layers,
        hidden_size=number(text, "hidden_size"),
        intermediate_size=number(text, "intermediate_size"),
        heads=heads,
        kv_heads=kv_heads,
        head_size=_head_size(text, heads),
        vocabulary_size=number(text, "vocab_size"),
        max_position_embeddings=number(text, "max_position_embeddings"),
        tied_embeddings=bool(text.get("tie_word_embeddings", False)),
        experts=experts,
        experts_per_token=experts_per_token(text, experts) if experts else 0,
        expert_intermediate_size=_expert_intermediate_size(text) if experts else 0,
        sliding_window=window,
        sliding_layers=windowed_layers,
        token_types=number(text, "type_vocab_size") if text.get("type_vocab_size") is not None else 0,
    )


def with_defaults(config: Config) -> Config:
    text = text_config(config)
    return {**DEFAULTS.get(str(text.get("model_type")), {}), **text}


def number(config: Config, key: str, default: int | None = None) -> int:
    """A positive whole number of the configuration; null counts as absent."""
    return whole(config, key, default)


def architecture_name(config: Config) -> str:
    """The first of `architectures`; raises DamagedModelError where it names none."""
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise _bad_config("architectures", "names no architecture")
    return names[0]


def _head_size(text: Config, heads: int) -> int:
    if text.get("head_dim") is not None:
        return number(text, "head_dim")
    hidden = number(text, "hidden_size")
    if hidden % heads:
        raise _bad_config("head_dim", f"is missing, and hidden_size {hidden} is no multiple of {heads} heads")
    return hidden // heads


def _experts(text: Config) -> int:
    for key in ("num_local_experts", "num_experts", "n_routed_experts"):
        if text.get(key):
            return number(text, key)
    return 0


def experts_per_token(text: Config, experts: int, default: int | None = None) -> int:
    active = number(text, "num_experts_per_tok", None if default is None else min(default, experts))
    if active > experts:
        raise bad_value(CONFIG_FILE, "num_experts_per_tok", active, f"there are {experts} experts")
    return active


def _expert_intermediate_size(text: Config) -> int:
    return number(text, "moe_intermediate_size", number(text, "intermediate_size"))


def sliding_window(text: Config, layers: int) -> tuple[int | None, int]:
    """The window in tokens and how many layers use it; (None, 0) without one."""
    if text.get("sliding_window") is None or text.get("use_sliding_window") is False:
        return None, 0
    windowed = _windowed_layers(text, layers)
    return (number(text, "sliding_window"), windowed) if windowed else (None, 0)


def _windowed_layers(text: Config, layers: int) -> int:
    kinds = text.get("layer_types")
    if isinstance(kinds, list):
        return kinds.count("sliding_attention")
    model_type = str(text.get("model_type"))
    if model_type in _WINDOW_PATTERN:
        given = text.get("sliding_window_pattern", text.get("_sliding_window_pattern"))
        pattern = given if type(given) is int and given > 0 else _WINDOW_PATTERN[model_type]
        return layers - layers // pattern
    if model_type in _WINDOWED_EVERYWHERE:
        return layers
    if model_type in _WINDOWED_ON_REQUEST and text.get("use_sliding_window"):
        return _layers_above(text, layers)
    return 0


def layer_numbers(text: Config, key: str) -> frozenset[int]:
    """A list of layers; empty where the key is absent or null."""
    value = text.get(key) or []
    if not isinstance(value, list) or not all(type(layer) is int for layer in value):
        raise bad_value(CONFIG_FILE, key, value, "it must be a list of layer numbers")
    return frozenset(value)


def _layers_above(text: Config, layers: int) -> int:
    """Qwen's `max_window_layers`: that many lower layers attend to everything; the mixtures of experts ignore it."""
    if str(text.get("model_type")).endswith("_moe") or text.get("max_window_layers") is None:
        return layers
    return max(0, layers - whole(text, "max_window_layers", low=0))


_MODELOPT_BITS: Mapping[str, int] = {
    "FP8": 8,
    "FP8_PB_WO": 8,
    "FP8_PB_REAL": 8,
    "MXFP8": 8,
    "INT8_SQ": 8,
    "W8A16": 8,
    "W8A8_SQ_PER_CHANNEL": 8,
    "W4A16": 4,
    "W4A16_AWQ": 4,
    "W4A8_AWQ": 4,
    "NVFP4": 4,
    "NVFP4_AWQ": 4,
    "MXFP4": 4,
}
_BITS_OF_METHOD: Mapping[str, int] = {"fp8": 8, "fbgemm_fp8": 8, "mxfp4": 4, "awq": 4, "gptq": 4}


def quantization_facts(config: Config, hf_quant_config: Config | None = None) -> Quantization | None:
    """What config.json's `quantization_config`, or NVIDIA ModelOpt's hf_quant_config.json, says of the weights.

    `bits` and `group_size` are 0 where the checkpoint does not say.
    """
    settings = config.get("quantization_config") or text_config(config).get("quantization_config")
    if isinstance(settings, Mapping) and settings:
        return _transformers_quantization(settings)
    if hf_quant_config is not None:
        return _modelopt_quantization(hf_quant_config)
    return None


def _transformers_quantization(settings: Config) -> Quantization:
    method = str(settings.get("quant_method") or _method_of(settings)).lower()
    if method == "modelopt":
        return _modelopt_quantization(settings)
    weights = settings
    if method == "compressed-tensors":
        weights = _compressed_weights(settings)
    said = _bits(weights, "bits") or _bits(weights, "num_bits") or _bitsandbytes_bits(settings)
    bits = said or _BITS_OF_METHOD.get(method, 0)
    return Quantization(method, bits, _bits(weights, "group_size"), dict(settings))


def _method_of(settings: Config) -> str:
    return "bitsandbytes" if "load_in_4bit" in settings or "load_in_8bit" in settings else "unknown"


def _compressed_weights(settings: Config) -> Config:
    groups = settings.get("config_groups")
    first: object = next(iter(groups.values()), {}) if isinstance(groups, Mapping) else {}
    weights = first.get("weights") if isinstance(first, Mapping) else None
    return weights if isinstance(weights, Mapping) else {}


def _bitsandbytes_bits(settings: Config) -> int:
    if settings.get("load_in_4bit"):
        return 4
    return 8 if settings.get("load_in_8bit") else 0


def _modelopt_quantization(settings: Config) -> Quantization:
    inner = settings.get("quantization")
    quantization = inner if isinstance(inner, Mapping) else settings
    algorithm = str(quantization.get("quant_algo", ""))
    return Quantization("modelopt", _MODELOPT_BITS.get(algorithm, 0), _bits(quantization, "group_size"), dict(settings))


def _bits(settings: Config, key: str) -> int:
    """0 where the key is absent or null. -1, of a group size, means whole channels."""
    value = settings.get(key)
    if value is None:
        return 0
    if type(value) is not int or not -1 <= value <= 1 << 20:
        raise bad_value(CONFIG_FILE, f"quantization_config.{key}", value, "it must be a whole number")
    return max(value, 0)


def _bad_config(key: str, problem: str) -> DamagedModelError:
    return DamagedModelError(
        "config.json cannot be used",
        why=f"its key {key} {problem}",
        remedy="compare it with the model's published config.json",
    )
