"""What every family module hands over, and the parts that most of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from stoker.errors import DamagedModelError
from stoker.kinds.openvino.build.families import rotary
from stoker.kinds.openvino.build.families.keys import flag, number, positive, refuse_unknown, unsupported
from stoker.kinds.openvino.build.families.spec import Attention, Decoder, Layer, Mlp, Rope
from stoker.resolve.rope import EVERY_LAYER, FULL, SLIDING, RopeSettings, rope_settings

Config = Mapping[str, Any]

ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
}


Spec = TypeVar("Spec")


@dataclass(frozen=True)
class Family(Generic[Spec]):
    """`reads`: config keys that `describe` looks at beyond those that all families share; `fixed`: keys accepted
    with these values only; `defaults`: what a missing key means, where the family differs from the shared readers.
    `describe(config, context)` gives the model's spec for sequences of up to `context` tokens."""

    architectures: tuple[str, ...]
    describe: Callable[[Config, int], Spec]
    reads: frozenset[str] = frozenset()
    fixed: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def spec(self, config: Config, context: int) -> Spec:
        """Raises UnsupportedModelError for anything in the config that would be silently ignored."""
        refuse_unknown(config, self.reads, self.fixed)
        return self.describe({**self.defaults, **config}, context)


@contextmanager
def reading(file: str) -> Iterator[None]:
    """DamagedModelError, which names the file, where a value of it makes no sense to a family."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DamagedModelError(f"{file} has a value of the wrong kind", why=repr(error)) from error


def architecture_of(config: Config) -> str:
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else "none"


def heads(config: Config) -> tuple[int, int, int]:
    """Query heads, key-value heads and head size."""
    count = positive(config, "num_attention_heads")
    kv = positive(config, "num_key_value_heads", count)
    if count % kv:
        raise DamagedModelError("config.json: num_attention_heads must be a multiple of num_key_value_heads")
    return count, kv, positive(config, "head_dim", positive(config, "hidden_size") // count)


def attention(config: Config, rope: Rope | None, **differences: object) -> Attention:
    count, kv, size = heads(config)
    defaults: dict[str, Any] = {"scale": size**-0.5, "rope": rope}
    return Attention(count, kv, size, **{**defaults, **differences})


def whole_rope(config: Config, context: int) -> Rope:
    """The rope of a family that rotates whole heads and uses one rope everywhere."""
    return _whole(single_rope(config, context), config)


def _whole(settings: RopeSettings, config: Config) -> Rope:
    if settings.partial != 1:
        raise unsupported("partial_rotary_factor", settings.partial, "accepted: 1")
    return rotary.rope(settings, heads(config)[2])


def single_rope(config: Config, context: int) -> RopeSettings:
    """The rope settings of a family that has one for all layers."""
    ropes = rope_settings(config, context)
    if EVERY_LAYER not in ropes:
        raise unsupported("rope_parameters", sorted(ropes), "this architecture has one rope for all layers")
    return ropes[EVERY_LAYER]


def ropes_by_layer(config: Config, context: int) -> dict[bool, Rope]:
    """Of a family that rotates whole heads, with a rope for each type of layer: that of full layers under False, of
    sliding ones under True."""
    ropes = rope_settings(config, context)
    return {slides: _whole(ropes[name], config) for slides, name in ((False, FULL), (True, SLIDING))}


def mlp(config: Config, key: str = "hidden_act", **differences: Any) -> Mlp:
    return Mlp(positive(config, "intermediate_size"), activation(config, key), **differences)


def activation(config: Config, key: str = "hidden_act") -> str:
    name = config.get(key) or "silu"
    if name not in ACTIVATIONS:
        raise unsupported(key, name, f"known activations: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def layer_count(config: Config) -> int:
    return positive(config, "num_hidden_layers")


def layer_types(config: Config, default: Callable[[int], bool]) -> tuple[bool, ...]:
    """For each layer, whether it uses the sliding window: from `layer_types`, else by `default(index)`."""
    count = layer_count(config)
    named = config.get("layer_types")
    if named is None:
        return tuple(default(index) for index in range(count))
    for name in named:
        if name not in ("sliding_attention", "full_attention"):
            raise unsupported("layer_types", name)
    if len(named) != count:
        raise DamagedModelError("config.json: layer_types must name every layer", why=f"{len(named)} of {count}")
    return tuple(name == "sliding_attention" for name in named)


def window(config: Config) -> int | None:
    return None if config.get("sliding_window") is None else positive(config, "sliding_window")


def decoder(config: Config, layers: tuple[Layer, ...], **differences: Any) -> Decoder:
    return Decoder(
        layers,
        positive(config, "hidden_size"),
        positive(config, "vocab_size"),
        number(config, "rms_norm_eps", 1e-6, low=0.0),
        tied=flag(config, "tie_word_embeddings"),
        **differences,
    )
