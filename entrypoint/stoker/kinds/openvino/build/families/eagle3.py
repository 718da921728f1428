"""EAGLE-3 heads of Llama's kind, which the published heads for Llama and Qwen models are."""

from __future__ import annotations

from collections.abc import Mapping

from stoker.errors import UnsupportedModelError
from stoker.kinds.openvino.build.families import llama
from stoker.kinds.openvino.build.families.family import Family, architecture_of, reading
from stoker.kinds.openvino.build.families.keys import names
from stoker.kinds.openvino.build.families.spec import Decoder
from stoker.resolve.heads import seen_layers

FAMILY = Family(
    ("LlamaForCausalLMEagle3", "Eagle3LlamaForCausalLM", "LlamaForCausalLM"),
    llama.describe,
    names(
        "hidden_act attention_bias mlp_bias draft_vocab_size target_hidden_size eagle_config "
        "eagle_aux_hidden_state_layer_ids num_aux_hidden_states target_model_type sliding_window max_window_layers"
    ),
    {"layer_types": (None, ["full_attention"]), "use_sliding_window": (False,)},
)
SEEN = 3  # layers whose hidden states GenAI takes


def describe_head(config: Mapping[str, object], layers: int, context: int) -> Decoder:
    """Of a head for a model of so many layers. Raises UnsupportedModelError and DamagedModelError."""
    name = architecture_of(config)
    if name not in FAMILY.architectures:
        what = f"EAGLE-3 heads of the architecture {name} are not supported"
        raise UnsupportedModelError(what, why=f"known: {', '.join(FAMILY.architectures)}")
    with reading("the head's config.json"):
        decoder = FAMILY.spec(config, context)
    seen = seen_layers(config, layers)
    if len(decoder.layers) != 1 or len(seen) != SEEN:
        own = f"it has {len(decoder.layers)} layers and sees {len(seen)} of the model's"
        raise UnsupportedModelError("this head is not supported", why=f"{own}; OpenVINO GenAI knows 1 and {SEEN}")
    return decoder
