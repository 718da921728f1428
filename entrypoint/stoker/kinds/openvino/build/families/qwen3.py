"""Qwen 3, dense and mixture of experts: queries and keys are normalised head by head."""

from __future__ import annotations

from stoker.kinds.openvino.build.families import qwen2
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
from stoker.kinds.openvino.build.families.keys import flag, names, positive, require
from stoker.kinds.openvino.build.families.spec import Attention, Decoder, Experts, Layer, Rope
from stoker.resolve.facts import experts_per_token, layer_numbers


def normed(config: Config, rope: Rope, size: int | None) -> Attention:
    bias = flag(config, "attention_bias")
    return attention(config, rope, window=size, norm="head", input_bias=bias, output_bias=bias)


def describe(config: Config, context: int) -> Decoder:
    rope = whole_rope(config, context)
    return decoder(config, tuple(Layer(normed(config, rope, size), mlp(config)) for size in qwen2.windows(config)))


def describe_moe(config: Config, context: int) -> Decoder:
    require(config, "hidden_act", ("silu",))
    size = window(config) if flag(config, "use_sliding_window") else None
    shared = normed(config, whole_rope(config, context), size)
    mixture, plain = experts(config), mlp(config)
    layers = (Layer(shared, mixture if has_experts else plain) for has_experts in sparse(config))
    return decoder(config, tuple(layers))


def experts(config: Config) -> Experts:
    count = positive(config, "num_experts", positive(config, "num_local_experts", 128))
    return Experts(
        count,
        experts_per_token(config, count, 8),
        positive(config, "moe_intermediate_size"),
        normalised=flag(config, "norm_topk_prob"),
    )


def sparse(config: Config) -> tuple[bool, ...]:
    """For each layer, whether it has experts."""
    only_mlp, step = layer_numbers(config, "mlp_only_layers"), positive(config, "decoder_sparse_step", 1)
    return tuple(index not in only_mlp and (index + 1) % step == 0 for index in range(layer_count(config)))


DENSE = Family(
    ("Qwen3ForCausalLM",),
    describe,
    qwen2.READS | {"attention_bias"},
    defaults={"head_dim": 128, "sliding_window": 4096},
)

MOE = Family(
    ("Qwen3MoeForCausalLM",),
    describe_moe,
    names(
        "hidden_act attention_bias use_sliding_window sliding_window max_window_layers decoder_sparse_step "
        "moe_intermediate_size num_experts num_local_experts num_experts_per_tok norm_topk_prob mlp_only_layers"
    ),
    defaults={"sliding_window": 4096},
)
