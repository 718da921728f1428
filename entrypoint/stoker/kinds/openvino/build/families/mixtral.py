"""Mixtral: Mistral with a mixture of experts in every layer."""

from __future__ import annotations

from stoker.kinds.openvino.build.families.family import (
    Config,
    Family,
    attention,
    decoder,
    layer_count,
    whole_rope,
    window,
)
from stoker.kinds.openvino.build.families.keys import positive, require
from stoker.kinds.openvino.build.families.spec import Decoder, Experts, Layer
from stoker.resolve.facts import experts_per_token


def describe(config: Config, context: int) -> Decoder:
    require(config, "hidden_act", ("silu",))
    count = positive(config, "num_local_experts", positive(config, "num_experts", 8))
    experts = Experts(
        count,
        experts_per_token(config, count, 2),
        positive(config, "intermediate_size"),
        normalised=True,
        block="block_sparse_moe",
        gate="w1",
        up="w3",
        down="w2",
    )
    layer = Layer(attention(config, whole_rope(config, context), window=window(config)), experts)
    return decoder(config, (layer,) * layer_count(config))


FAMILY = Family(
    ("MixtralForCausalLM",),
    describe,
    frozenset({"hidden_act", "sliding_window", "num_local_experts", "num_experts", "num_experts_per_tok"}),
    defaults={"rms_norm_eps": 1e-5},
)
