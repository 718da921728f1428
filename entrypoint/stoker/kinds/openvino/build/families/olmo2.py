"""OLMo 2: norms after each block instead of before, and queries and keys normalised over their full width."""

from __future__ import annotations

from stoker.kinds.openvino.build.families.family import Config, Family, attention, decoder, layer_count, mlp, whole_rope
from stoker.kinds.openvino.build.families.keys import flag
from stoker.kinds.openvino.build.families.spec import Decoder, Layer, Norms

NORMS = Norms(None, "post_attention_layernorm", None, "post_feedforward_layernorm")


def describe(config: Config, context: int) -> Decoder:
    bias = flag(config, "attention_bias")
    shared = attention(config, whole_rope(config, context), norm="width", input_bias=bias, output_bias=bias)
    return decoder(config, (Layer(shared, mlp(config), NORMS),) * layer_count(config))


FAMILY = Family(
    ("Olmo2ForCausalLM",), describe, frozenset({"hidden_act", "attention_bias"}), defaults={"rms_norm_eps": 1e-5}
)
