"""The golden adapters: LoRA configurations beside bases that are golden cases themselves."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class AdapterCase:
    """`base` names a case of cases.py; `config` is what peft.LoraConfig is given."""

    name: str
    base: str
    config: dict[str, object] = field(default_factory=dict)


ALL = "all-linear"
ADAPTER_CASES = (
    AdapterCase(
        "tied_attention_r4", "llama_gqa_tied", {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    ),
    AdapterCase("tied_all_r64", "llama_gqa_tied", {"r": 64, "lora_alpha": 16, "target_modules": ALL}),
    AdapterCase(
        "tied_rslora_r16", "llama_gqa_tied", {"r": 16, "lora_alpha": 8, "target_modules": ALL, "use_rslora": True}
    ),
    AdapterCase(
        "tied_patterns",
        "llama_gqa_tied",
        {
            "r": 8,
            "lora_alpha": 16,
            "target_modules": ["k_proj", "o_proj", "down_proj"],
            "rank_pattern": {"down_proj": 12, "layers.1.self_attn.o_proj": 3},
            "alpha_pattern": {"k_proj": 32},
        },
    ),
    AdapterCase("biased_all_r8", "qwen2", {"r": 8, "lora_alpha": 16, "target_modules": ALL}),
    AdapterCase("fused_all_r16", "phi3_window", {"r": 16, "lora_alpha": 16, "target_modules": ALL}),
    AdapterCase(
        "normed_one_layer_r32",
        "gemma3",
        {"r": 32, "lora_alpha": 32, "target_modules": ["q_proj", "gate_proj"], "layers_to_transform": [1]},
    ),
)
