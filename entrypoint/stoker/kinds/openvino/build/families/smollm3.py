"""SmolLM 3: Llama in which every fourth layer encodes no positions."""

from __future__ import annotations

from stoker.errors import DamagedModelError
from stoker.kinds.openvino.build.families.family import (
    Config,
    Family,
    attention,
    decoder,
    layer_count,
    layer_types,
    mlp,
    whole_rope,
    window,
)
from stoker.kinds.openvino.build.families.keys import flag, names, positive
from stoker.kinds.openvino.build.families.spec import Decoder, Layer


def rotated(config: Config) -> tuple[bool, ...]:
    """For each layer, whether it encodes positions."""
    count = layer_count(config)
    given = config.get("no_rope_layers")
    if given is None:
        interval = positive(config, "no_rope_layer_interval", 4)
        return tuple((index + 1) % interval != 0 for index in range(count))
    if len(given) < count:
        raise DamagedModelError("config.json: no_rope_layers must name every layer", why=f"{len(given)} of {count}")
    return tuple(bool(each) for each in given[:count])


def describe(config: Config, context: int) -> Decoder:
    rope, bias = whole_rope(config, context), flag(config, "attention_bias")
    size = window(config) if flag(config, "use_sliding_window") else None
    rotates = rotated(config)
    sliding = layer_types(config, lambda index: not rotates[index])
    block = mlp(config, bias=flag(config, "mlp_bias"))
    attentions = (
        attention(config, rope if turns else None, window=size if slides else None, input_bias=bias, output_bias=bias)
        for turns, slides in zip(rotates, sliding, strict=True)
    )
    return decoder(config, tuple(Layer(each, block) for each in attentions))


FAMILY = Family(
    ("SmolLM3ForCausalLM",),
    describe,
    names(
        "hidden_act attention_bias mlp_bias no_rope_layers no_rope_layer_interval layer_types use_sliding_window "
        "sliding_window max_window_layers"
    ),
    defaults={"tie_word_embeddings": True},
)
