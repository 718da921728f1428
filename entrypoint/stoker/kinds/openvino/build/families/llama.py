"""Llama 2 and 3.x and everything that calls itself one (SmolLM2, TinyLlama, Yi, DeepSeek-R1-Distill-Llama)."""

from __future__ import annotations

from stoker.kinds.openvino.build.families.family import Config, Family, attention, decoder, layer_count, mlp, whole_rope
from stoker.kinds.openvino.build.families.keys import flag
from stoker.kinds.openvino.build.families.spec import Decoder, Layer


def describe(config: Config, context: int) -> Decoder:
    bias = flag(config, "attention_bias")
    shared = attention(config, whole_rope(config, context), input_bias=bias, output_bias=bias)
    layer = Layer(shared, mlp(config, bias=flag(config, "mlp_bias")))
    return decoder(config, (layer,) * layer_count(config))


FAMILY = Family(
    ("LlamaForCausalLM",), describe, frozenset({"hidden_act", "attention_bias", "mlp_bias"}), {"layer_types": (None,)}
)
