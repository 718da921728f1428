"""The golden cases: tiny configs in the form that the hub has them, one for every architecture and variant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BASE: dict[str, object] = {
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
PLAIN = (3, 23, 70)


@dataclass(frozen=True)
class Case:
    """`prompts` are lengths in tokens; `max_seq_len` is what the engine is built for (None: the config's maximum);
    `embedding_gain` is large enough for clear logits and small enough for text that does not repeat one token."""

    name: str
    config: dict[str, object]
    prompts: tuple[int, ...] = PLAIN
    max_seq_len: int | None = None
    embedding_gain: float = 4.0


def case(name: str, architecture: str, model_type: str, *, without: str = "", **differences: Any) -> Case:
    prompts = differences.pop("prompts", PLAIN)
    max_seq_len = differences.pop("max_seq_len", None)
    gain = differences.pop("embedding_gain", 4.0)
    config = {"architectures": [architecture], "model_type": model_type, **BASE, **differences}
    return Case(name, {k: v for k, v in config.items() if k not in without.split()}, prompts, max_seq_len, gain)


def llama(name: str, **differences: Any) -> Case:
    return case(name, "LlamaForCausalLM", "llama", **differences)


def phi3(name: str, **differences: Any) -> Case:
    return case(name, "Phi3ForCausalLM", "phi3", without="head_dim", hidden_size=128, pad_token_id=0, **differences)


def gemma(generation: int, name: str, **differences: Any) -> Case:
    text = "_text" if generation == 3 else ""
    own = {"hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 24, "sliding_window": 16}
    shared = {
        "embedding_gain": 1.0,
        "num_hidden_layers": 4,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
        **own,
        **differences,
    }
    return case(name, f"Gemma{generation}ForCausalLM", f"gemma{generation}{text}", **shared)


def granite(name: str, **differences: Any) -> Case:
    multipliers = {
        "attention_multiplier": 0.25,
        "embedding_multiplier": 3.0,
        "logits_scaling": 2.0,
        "residual_multiplier": 0.7,
    }
    own = {"without": "head_dim", "hidden_size": 128, **multipliers}
    return case(name, "GraniteForCausalLM", "granite", **own, **differences)


def qwen3_moe(name: str, **differences: Any) -> Case:
    experts = {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 32}
    return case(name, "Qwen3MoeForCausalLM", "qwen3_moe", **experts, **differences)


def gemma3_with_vision(name: str) -> Case:
    """Only the text tower is run; the other one's tensors are in the checkpoint."""
    text = gemma(3, name, rope_scaling={"rope_type": "linear", "factor": 8.0}).config
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {key: value for key, value in text.items() if key not in ("architectures", "rope_theta")},
        "vision_config": {"model_type": "siglip_vision_model", "image_size": 32, "patch_size": 16, **vision},
        "mm_tokens_per_image": 4,
        "boi_token_index": 253,
        "eoi_token_index": 254,
        "image_token_index": 255,
        "eos_token_id": 2,
    }
    return Case(name, config, embedding_gain=1.0)


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 48,
}
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 48}
LONGROPE_ORIGINAL = 96


def longrope(pairs: int) -> dict[str, object]:
    return {
        "type": "longrope",
        "short_factor": [1.0 + 0.02 * i for i in range(pairs)],
        "long_factor": [1.0 + 0.35 * i for i in range(pairs)],
    }


SHORT = {
    "original_max_position_embeddings": LONGROPE_ORIGINAL,
    "prompts": (3, 17, LONGROPE_ORIGINAL - 64),
    "max_seq_len": LONGROPE_ORIGINAL,
}
LONG = {"original_max_position_embeddings": LONGROPE_ORIGINAL, "prompts": (LONGROPE_ORIGINAL + 1, 110, 150)}

CASES: tuple[Case, ...] = (
    llama("llama_mha", num_attention_heads=2, num_key_value_heads=2, without="head_dim"),
    llama("llama_gqa_tied", tie_word_embeddings=True),
    llama("llama_biases", attention_bias=True, mlp_bias=True),
    llama("llama3_rope", rope_scaling=LLAMA3, rope_theta=5000.0),
    llama(
        "llama_linear_rope",
        without="rope_theta",
        rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 2000.0},
    ),
    llama("llama_yarn_mscale", rope_scaling={**YARN, "mscale": 1.0, "mscale_all_dim": 0.5, "beta_fast": 16}),
    case("mistral_full", "MistralForCausalLM", "mistral", sliding_window=None, head_dim=64),
    case("mistral_window", "MistralForCausalLM", "mistral", sliding_window=16),
    case("qwen2", "Qwen2ForCausalLM", "qwen2", without="head_dim", hidden_size=128, tie_word_embeddings=True),
    case(
        "qwen2_window",
        "Qwen2ForCausalLM",
        "qwen2",
        without="head_dim",
        hidden_size=128,
        use_sliding_window=True,
        sliding_window=16,
        max_window_layers=1,
    ),
    case("qwen2_yarn", "Qwen2ForCausalLM", "qwen2", without="head_dim", hidden_size=128, rope_scaling=YARN),
    case("qwen3", "Qwen3ForCausalLM", "qwen3", tie_word_embeddings=True),
    case(
        "qwen3_window_biases",
        "Qwen3ForCausalLM",
        "qwen3",
        attention_bias=True,
        use_sliding_window=True,
        sliding_window=20,
        max_window_layers=2,
    ),
    phi3("phi3_window", sliding_window=24),
    phi3("phi3_longrope_short", rope_scaling=longrope(16), **SHORT),
    phi3("phi3_longrope_long", rope_scaling=longrope(16), **LONG),
    phi3("phi4_mini_short", rope_scaling=longrope(12), partial_rotary_factor=0.75, tie_word_embeddings=True, **SHORT),
    phi3("phi4_mini_long", rope_scaling=longrope(12), partial_rotary_factor=0.75, tie_word_embeddings=True, **LONG),
    gemma(2, "gemma2", attn_logit_softcapping=5.0, final_logit_softcapping=40.0),
    gemma(2, "gemma2_uncapped_attention", attn_logit_softcapping=None, final_logit_softcapping=50.0),
    gemma(3, "gemma3", sliding_window_pattern=2, rope_local_base_freq=1000.0, rope_theta=100000.0),
    gemma(
        3,
        "gemma3_linear_rope",
        without="rope_theta",
        final_logit_softcapping=40.0,
        layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 100000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0},
        },
    ),
    gemma3_with_vision("gemma3_with_vision"),
    granite("granite"),
    case("olmo2", "Olmo2ForCausalLM", "olmo2", without="head_dim", hidden_size=128, pad_token_id=0),
    case(
        "olmo3",
        "Olmo3ForCausalLM",
        "olmo3",
        without="head_dim",
        hidden_size=128,
        num_hidden_layers=5,
        sliding_window=16,
        rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 48},
        pad_token_id=0,
    ),
    case(
        "olmo3_biases",
        "Olmo3ForCausalLM",
        "olmo3",
        without="rope_theta",
        attention_bias=True,
        sliding_window=20,
        layer_types=["full_attention", "sliding_attention", "sliding_attention"],
        rope_parameters={
            "full_attention": {**LLAMA3, "rope_theta": 5000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0},
        },
        pad_token_id=0,
    ),
    case(
        "seed_oss",
        "SeedOssForCausalLM",
        "seed_oss",
        attention_bias=True,
        attention_out_bias=False,
        residual_dropout=0.1,
    ),
    case(
        "seed_oss_biases",
        "SeedOssForCausalLM",
        "seed_oss",
        without="attention_bias",
        attention_out_bias=True,
        mlp_bias=True,
    ),
    case("smollm3", "SmolLM3ForCausalLM", "smollm3", no_rope_layer_interval=2, pad_token_id=0),
    case(
        "mixtral",
        "MixtralForCausalLM",
        "mixtral",
        num_local_experts=8,
        num_experts_per_tok=2,
        sliding_window=None,
    ),
    qwen3_moe("qwen3_moe", norm_topk_prob=True, mlp_only_layers=[1]),
    qwen3_moe("qwen3_moe_sparse_step", norm_topk_prob=False, decoder_sparse_step=2),
)
