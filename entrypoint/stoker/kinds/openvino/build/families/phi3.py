"""Phi 3, 3.5, 4 and 4-mini: fused projections, partial rotation, longrope."""

from __future__ import annotations

from stoker.kinds.openvino.build.families import rotary
from stoker.kinds.openvino.build.families.family import (
    Config,
    Family,
    attention,
    decoder,
    heads,
    layer_count,
    mlp,
    window,
)
from stoker.kinds.openvino.build.families.keys import unsupported
from stoker.kinds.openvino.build.families.spec import Decoder, Layer, Rope


def phi_rope(config: Config, context: int) -> Rope:
    """Early configs call longrope "su" or "yarn"."""
    given = rotary.settings(config)
    if given["rope_type"] in ("su", "yarn"):
        given = rotary.complete({**given, "rope_type": "longrope"}, config)
    if given["rope_type"] not in ("default", "longrope"):
        raise unsupported("rope_type", given["rope_type"], "known here: default, longrope")
    return rotary.rope(given, config, heads(config)[2], context)


def describe(config: Config, context: int) -> Decoder:
    shared = attention(config, phi_rope(config, context), window=window(config), fused=True)
    return decoder(config, (Layer(shared, mlp(config, fused=True)),) * layer_count(config))


FAMILY = Family(
    ("Phi3ForCausalLM",),
    describe,
    frozenset({"hidden_act", "sliding_window", "partial_rotary_factor", "original_max_position_embeddings"}),
    {
        "attention_bias": (False,),
        "full_attn_mod": (1,),
        "interpolate_factor": (1,),
        "lm_head_bias": (False,),
        "mlp_bias": (False,),
    },
    {"original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5},
)
