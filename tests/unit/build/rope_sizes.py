"""The sizes of the tiny models whose rotary embeddings rope_reference.json holds."""

from __future__ import annotations

from typing import Any

SIZES: dict[str, Any] = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
}
EXPERTS = {
    "MixtralForCausalLM": {"num_local_experts": 4},
    "Qwen3MoeForCausalLM": {"num_experts": 4, "moe_intermediate_size": 32},
}


def sized(architecture: str, given: dict[str, Any]) -> dict[str, Any]:
    """`given` as a whole config.json."""
    return {"architectures": [architecture], **SIZES, **EXPERTS.get(architecture, {}), **given}
