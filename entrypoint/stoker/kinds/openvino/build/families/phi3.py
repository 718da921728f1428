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
    single_rope,
    window,
)
from stoker.kinds.openvino.build.families.keys import unsupported
from stoker.kinds.openvino.build.families.spec import Decoder, Layer, Rope


def phi_rope(config: Config, context: int) -> Rope:
    settings = single_rope(config, context)
    if settings.kind not in ("default", "longrope"):
        raise unsupported("rope_type", settings.kind, "known here: default, longrope")
    return rotary.rope(settings, heads(config)[2])


def describe(config: Config, context: int) -> Decoder:
    shared = attention(config, phi_rope(config, context), window=window(config), fused=True)
    return decoder(config, (Layer(shared, mlp(config, fused=True)),) * layer_count(config))


FAMILY = Family(
    ("Phi3ForCausalLM",),
    describe,
    frozenset({"hidden_act", "sliding_window", "partial_rotary_factor"}),
    {
        "attention_bias": (False,),
        "full_attn_mod": (1,),
        "interpolate_factor": (1,),
        "lm_head_bias": (False,),
        "mlp_bias": (False,),
    },
    {"rms_norm_eps": 1e-5},
)
