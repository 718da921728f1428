"""Which LoRA adapters TensorRT-LLM's engines take. Not run on real hardware yet.

Sources (1.2): examples/models/core/llama/README.md and docs/source/features/lora.md for models and precisions;
LoraModule::createLoraModules (cpp/tensorrt_llm/runtime/loraModule.cpp) for shapes.
"""

from __future__ import annotations

from stoker.kinds.tensorrt_llm.plan.catalogue import GpuProfile
from stoker.plan.kind import Question
from stoker.plan.profile import Profile

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
_COMPILED, _PYTORCH = ("f16", "bf16", "fp8", "int4_awq"), ("f16", "bf16", "fp8")


def no_adapters(profile: Profile, question: Question) -> str:
    """Empty for an engine that takes them."""
    assert isinstance(profile, GpuProfile)
    architecture = question.model.architecture
    precisions = _COMPILED if profile.kind.compiled else _PYTORCH
    if architecture.name not in ARCHITECTURES:
        return f"Stoker has them for {', '.join(ARCHITECTURES)} only, whose projections TensorRT-LLM's adapters have"
    if architecture.heads * architecture.head_size != architecture.hidden_size:
        return (
            f"TensorRT-LLM takes the output of attention to be as wide as the model, and here are {architecture.heads} "
            f"heads of {architecture.head_size} for a width of {architecture.hidden_size}"
        )
    if profile.precision not in precisions:
        return f"TensorRT-LLM describes them with {', '.join(precisions)} weights only"
    return ""
