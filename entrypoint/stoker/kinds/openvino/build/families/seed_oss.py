"""Seed-OSS: Llama with biases on queries, keys and values, and a switch of its own for the output's."""

from __future__ import annotations

from stoker.kinds.openvino.build.families.family import Config, Family, attention, decoder, layer_count, mlp, whole_rope
from stoker.kinds.openvino.build.families.keys import flag
from stoker.kinds.openvino.build.families.spec import Decoder, Layer


def describe(config: Config, context: int) -> Decoder:
    inner, outer = flag(config, "attention_bias"), flag(config, "attention_out_bias")
    shared = attention(config, whole_rope(config, context), input_bias=inner, output_bias=outer)
    layer = Layer(shared, mlp(config, bias=flag(config, "mlp_bias")))
    return decoder(config, (layer,) * layer_count(config))


FAMILY = Family(
    ("SeedOssForCausalLM",),
    describe,
    frozenset({"hidden_act", "attention_bias", "attention_out_bias", "mlp_bias"}),
    defaults={"attention_bias": True},
)
