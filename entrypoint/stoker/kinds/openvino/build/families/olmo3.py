"""OLMo 3: OLMo 2 in which three layers of four have a sliding window, and a rope of their own that is never scaled."""

from __future__ import annotations

from dataclasses import replace

from stoker.kinds.openvino.build.families.family import (
    Config,
    Family,
    attention,
    decoder,
    layer_types,
    mlp,
    ropes_by_layer,
)
from stoker.kinds.openvino.build.families.keys import flag, names, positive
from stoker.kinds.openvino.build.families.olmo2 import NORMS
from stoker.kinds.openvino.build.families.spec import Decoder, Layer


def describe(config: Config, context: int) -> Decoder:
    ropes, size = ropes_by_layer(config, context), positive(config, "sliding_window")
    bias, block = flag(config, "attention_bias"), mlp(config)
    shared = attention(config, None, norm="width", input_bias=bias, output_bias=bias)
    sliding = layer_types(config, lambda index: (index + 1) % 4 != 0)
    attentions = (replace(shared, rope=ropes[slides], window=size if slides else None) for slides in sliding)
    return decoder(config, tuple(Layer(each, block, NORMS) for each in attentions))


FAMILY = Family(
    ("Olmo3ForCausalLM",),
    describe,
    names("hidden_act attention_bias layer_types sliding_window"),
    defaults={"rms_norm_eps": 1e-5, "sliding_window": 4096},
)
