"""Mistral: Llama with one sliding window for every layer. A config without the key means 4096, null means none."""

from __future__ import annotations

from stoker.kinds.openvino.build.families.family import (
    Config,
    Family,
    attention,
    decoder,
    layer_count,
    mlp,
    whole_rope,
    window,
)
from stoker.kinds.openvino.build.families.spec import Decoder, Layer


def describe(config: Config, context: int) -> Decoder:
    layer = Layer(attention(config, whole_rope(config, context), window=window(config)), mlp(config))
    return decoder(config, (layer,) * layer_count(config))


FAMILY = Family(
    ("MistralForCausalLM",), describe, frozenset({"hidden_act", "sliding_window"}), defaults={"sliding_window": 4096}
)
