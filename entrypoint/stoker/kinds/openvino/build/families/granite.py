"""Granite 3: Llama with four multipliers."""

from __future__ import annotations

from stoker.kinds.openvino.build.families.family import Config, Family, attention, decoder, layer_count, mlp, whole_rope
from stoker.kinds.openvino.build.families.keys import flag, names, number
from stoker.kinds.openvino.build.families.spec import Decoder, Layer


def describe(config: Config, context: int) -> Decoder:
    bias = flag(config, "attention_bias")
    scale = number(config, "attention_multiplier", 1.0)
    shared = attention(config, whole_rope(config, context), scale=scale, input_bias=bias, output_bias=bias)
    block = mlp(config, bias=flag(config, "mlp_bias"))
    layer = Layer(shared, block, residual_scale=number(config, "residual_multiplier", 1.0))
    return decoder(
        config,
        (layer,) * layer_count(config),
        embedding_scale=number(config, "embedding_multiplier", 1.0),
        logits_scale=1.0 / number(config, "logits_scaling", 1.0, low=0.0),
    )


FAMILY = Family(
    ("GraniteForCausalLM",),
    describe,
    names(
        "hidden_act attention_bias mlp_bias attention_multiplier embedding_multiplier logits_scaling "
        "residual_multiplier"
    ),
)
