"""Gemma 2 and Gemma 3 text: four norms a layer whose weights are stored minus one, scaled embeddings, windows on most
layers, soft-capping (2) or query and key norms and two ropes (3)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from stoker.kinds.openvino.build.families.family import (
    Config,
    Family,
    attention,
    decoder,
    layer_types,
    mlp,
    ropes_by_layer,
    whole_rope,
    window,
)
from stoker.kinds.openvino.build.families.keys import flag, names, number, optional_number, positive, refuse_unknown
from stoker.kinds.openvino.build.families.spec import Attention, Decoder, Layer, Norms, Rope

NORMS = Norms("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")

READS = names(
    "attention_bias cache_implementation final_logit_softcapping hidden_act hidden_activation layer_types "
    "query_pre_attn_scalar sliding_window"
)
FIXED: Mapping[str, tuple[object, ...]] = {"use_bidirectional_attention": (False,)}
DEFAULTS = {
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "tie_word_embeddings": True,
}


def scaled(config: Config, rope: Rope, size: int | None, **differences: object) -> Attention:
    bias = flag(config, "attention_bias")
    scale = number(config, "query_pre_attn_scalar", low=0.0) ** -0.5
    return attention(config, rope, scale=scale, window=size, input_bias=bias, output_bias=bias, **differences)


def gemma(config: Config, attentions: tuple[Attention, ...], **differences: object) -> Decoder:
    block = mlp(config, "hidden_activation")
    return decoder(
        config,
        tuple(Layer(each, block, NORMS) for each in attentions),
        norm_offset=1.0,
        embedding_scale=math.sqrt(positive(config, "hidden_size")),
        logits_softcap=optional_number(config, "final_logit_softcapping", low=0.0),
        **differences,
    )


def describe_2(config: Config, context: int) -> Decoder:
    rope, size = whole_rope(config, context), window(config)
    cap = optional_number(config, "attn_logit_softcapping", low=0.0)
    sliding = layer_types(config, lambda index: index % 2 == 0)
    return gemma(config, tuple(scaled(config, rope, size if slides else None, softcap=cap) for slides in sliding))


def describe_3(config: Config, context: int, **differences: object) -> Decoder:
    ropes, size = ropes_by_layer(config, context), window(config)
    period = positive(config, "sliding_window_pattern", positive(config, "_sliding_window_pattern", 6))
    sliding = layer_types(config, lambda index: (index + 1) % period != 0)
    attentions = (scaled(config, ropes[slides], size if slides else None, norm="head") for slides in sliding)
    return gemma(config, tuple(attentions), **differences)


def describe_3_multimodal(config: Config, context: int) -> Decoder:
    """The text tower of a Gemma 3 with vision; its tensors' names depend on the transformers that saved them."""
    outer = {"tie_word_embeddings": config.get("tie_word_embeddings", True), "architectures": config["architectures"]}
    text = {**outer, **config["text_config"]}
    refuse_unknown(text, GEMMA3.reads, GEMMA3.fixed)
    return describe_3(
        {**GEMMA3.defaults, **text},
        context,
        prefixes=("language_model.model.", "model.language_model."),
        ignored=("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."),
    )


GEMMA2 = Family(
    ("Gemma2ForCausalLM",),
    describe_2,
    READS | {"attn_logit_softcapping", "sliding_window_size"},
    FIXED,
    {**DEFAULTS, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
)

GEMMA3 = Family(
    ("Gemma3ForCausalLM",),
    describe_3,
    READS | {"rope_local_base_freq", "sliding_window_pattern", "_sliding_window_pattern"},
    {**FIXED, "attn_logit_softcapping": (None,)},
    {**DEFAULTS, "vocab_size": 262208},
)

GEMMA3_MULTIMODAL = Family(
    ("Gemma3ForConditionalGeneration",),
    describe_3_multimodal,
    names(
        "text_config vision_config mm_tokens_per_image boi_token_index eoi_token_index image_token_index "
        "boi_token_id eoi_token_id image_token_id"
    ),
)
